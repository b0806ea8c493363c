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

"""The lab's libvirtd, with a socket for nova."""

import os

from tests.lab import hypervisor

# The owner and the group, as Debian's group libvirt has it.
SOCKET_MODE = 0o770


class Libvirtd(hypervisor.Libvirtd):
    """libvirtd that the members of one group may use."""

    def start(self, group: int = 0) -> 'Libvirtd':
        """Start it, and open its socket.

        :param group: the gid
        """
        super().start()
        socket = self.folder / 'run' / 'libvirt-sock'
        os.chown(socket, 0, group)
        socket.chmod(SOCKET_MODE)
        return self

    def qemu_pid(self, name: str) -> int:
        """Return the pid of an active domain's QEMU."""
        file = self.folder / 'run' / 'qemu' / f'{name}.pid'
        return int(file.read_text())
