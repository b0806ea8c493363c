#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


"""The nova-snap command, with a word when it is loaded.

``python -m bench.ours ARGUMENTS OF NOVA-SNAP``
"""

import sys

from bench import marks
from nova_snap.cmd import main as main_module
# The command loads it when it first needs it. nova-compute has loaded it long
# before, and so has what stands for upstream's path.
from nova_snap.services.glance import client as client_module  # noqa: F401


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    marks.loaded()
    return main_module.main(argv)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
