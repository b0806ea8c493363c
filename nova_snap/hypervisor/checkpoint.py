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

"""The checkpoints of a domain, which are shown to libvirt for moments."""

import libvirt

from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import errors as hypervisor_errors
from nova_snap.model import checkpoint as checkpoint_model


class Checkpoints(connection_module.OfDomain):
    """Those of one domain."""

    def has_others(self) -> bool:
        """Tell whether it has snapshots, or checkpoints that are not ours.

        libvirt makes no checkpoint of a domain with snapshots.
        """
        return bool(self._call('listAllSnapshots', 0)
                    or any(not self._is_ours(one) for one in self._all()))

    def show(self, name: str, target_dev: str) -> None:
        """Let libvirt know one whose bitmap is whole in the disk's file.

        :raises HypervisorError: when the bitmap is missing or broken, too
        :source: VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE
        """
        self._redefine(
            name, target_dev,
            libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE)

    def hide(self) -> None:
        """Let libvirt forget all of ours; their bitmaps stay.

        :source: VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY
        """
        for one in self._all():
            if self._is_ours(one):
                self.delete(
                    one, libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)

    def drop(self, name: str, target_dev: str) -> None:
        """Remove a bitmap from the disk of a running guest.

        One that is broken goes, too. Where this fails libvirt may know it.

        :raises HypervisorError: when it is missing, too
        """
        self.hide()
        self._redefine(name, target_dev, 0)
        for one in self._all():
            if one.getName() == name:
                self.delete(one, 0)

    def delete(self, one: libvirt.virDomainCheckpoint, flags: int) -> None:
        """Delete a checkpoint, or let libvirt forget it; it may be gone.

        :source: virDomainCheckpointDelete
        """
        with hypervisor_errors.translated(self.uuid, 'checkpoint delete'):
            try:
                one.delete(flags)
            except libvirt.libvirtError as exc:
                if (exc.get_error_code()
                        != libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT):
                    raise

    def _redefine(self, name: str, target_dev: str, flags: int) -> None:
        self._call(
            'checkpointCreateXML',
            checkpoint_model.xml(name, target_dev, is_made=True),
            libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE | flags)

    def _all(self) -> list[libvirt.virDomainCheckpoint]:
        return list(self._call('listAllCheckpoints', 0))

    def _is_ours(self, one: libvirt.virDomainCheckpoint) -> bool:
        return str(one.getName()).startswith(checkpoint_model.PREFIX)
