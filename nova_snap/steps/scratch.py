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

"""The directories for what a snapshot writes on this host."""

import dataclasses
import os

from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

# What QEMU says of a file that it is not allowed to open. Owners and modes
# were looked at before, and libvirt gives it the file itself, so something
# else forbids it. libvirt names the file to AppArmor and labels it for
# SELinux; the directories above it are the operator's.
# :source: strerror(3); libvirt docs/drvqemu.rst, "Driver security
#     architecture"
DENIED = 'Permission denied'
ALLOW = ('QEMU cannot write into %(directory)s although owners and modes let '
         'it: SELinux or AppArmor forbids it. Label snapshots_directory '
         '(semanage fcontext -a -t virt_image_t "%(top)s(/.*)?" && restorecon '
         '-R %(top)s), or let AppArmor allow it (echo "%(top)s/** rwk," >> '
         '/etc/apparmor.d/local/abstractions/libvirt-qemu)')


@dataclasses.dataclass
class MakeScratch(step_module.Step):
    """Hold: a private directory below ``snapshots_directory``."""

    path: str

    def do(self, world: world_module.World) -> None:
        """Make it.

        :raises StorageError: when it cannot be made; nothing is there
        """
        world.files.make_scratch(self.path)

    def undo(self, world: world_module.World) -> None:
        """Remove it with all that is in it.

        :raises StorageError: when something in it cannot be removed
        """
        world.files.remove_scratch(self.path)


@dataclasses.dataclass
class LendDirectory(step_module.Step):
    """Hold: a directory in a scratch directory, where QEMU writes.

    Nothing that we write lies in it: QEMU could put another file there.

    :ivar uid: of QEMU's user; None where that is not known
    """

    path: str
    uid: int | None

    def do(self, world: world_module.World) -> None:
        """Make it.

        :raises StorageError: when it cannot be made
        """
        world.files.make_lent(self.path, self.uid)

    def undo(self, world: world_module.World) -> None:
        """Take it back; it goes with the scratch directory.

        :raises StorageError: when it cannot be taken back
        """
        world.files.take_back(self.path)


def why_denied(reason: str, directory: str) -> str | None:
    """Say what keeps QEMU from a directory, if that is what it said.

    :param reason: libvirt's, of a call that failed
    :param directory: of ours, where QEMU was to write
    """
    if DENIED not in reason:
        return None
    return f'{reason}. ' + ALLOW % {'directory': directory,
                                    'top': os.path.dirname(directory)}
