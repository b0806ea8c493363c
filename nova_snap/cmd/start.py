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

"""Where the command begins, before it is loaded.

To import all of it takes most of a second, and a Ctrl-C may come in that
time, too, or before the command listens for it. There is nothing to put back
then.
"""

import sys

# As after any other Ctrl-C.
CANCELLED = 130


def main() -> int:
    """Load the command, run it, and return its exit code."""
    try:
        from nova_snap.cmd import main as main_module
        return main_module.main()
    except KeyboardInterrupt:
        print('nova-snap: cancelled; the guest is as it was', file=sys.stderr)
        return CANCELLED
