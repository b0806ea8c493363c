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

"""Run the command, and die before one of its calls to libvirt.

``python -m tests.vfio.killed CALL NUMBER ARGUMENTS...``: killed before the
NUMBER-th time that it calls CALL of a domain, counted from 1.
"""

import os
import signal
import sys
import typing as ty

from nova_snap.cmd import main as main_module
from nova_snap.hypervisor import connection as connection_module


def kill_before(call: str, number: int) -> None:
    """Let this process be killed as ``kill -9`` does."""
    inner = connection_module.Connection.call
    left = number

    def counted(itself: ty.Any, uuid: str, name: str,
                *args: ty.Any) -> ty.Any:
        nonlocal left
        left -= name == call
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(itself, uuid, name, *args)

    connection_module.Connection.call = (  # type: ignore[method-assign]
        counted)


if __name__ == '__main__':
    kill_before(sys.argv[1], int(sys.argv[2]))
    sys.exit(main_module.main(sys.argv[3:]))
