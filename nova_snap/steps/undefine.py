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

"""The domain without its definition, for the moment a mirror starts."""

import dataclasses
import typing as ty

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.hypervisor import domain as domain_module
from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)


@dataclasses.dataclass
class UndefineDomain(step_module.Step):
    """Hold: the domain is transient.

    ``blockRebase`` with COPY is refused on a defined domain, so Nova leaves
    it undefined for the whole copy. Here it is only for the start: the
    job runs on when the domain is defined again.

    The fields carry secrets: they are written 0600 and never logged.

    :ivar qemu_id: the QEMU process that runs on without a definition
    :ivar root: while its storage has it, the instance was not deleted
    :source: nova/virt/libvirt/driver.py _live_snapshot
    """

    uuid: str
    qemu_id: int
    root: layer_model.Layer
    xml: str = dataclasses.field(repr=False)
    autostart: bool
    snapshots: list[list[str]] = dataclasses.field(repr=False)
    checkpoints: list[list[str]] = dataclasses.field(repr=False)

    @classmethod
    def of(cls, domain: domain_module.Domain, qemu_id: int,
           root: layer_model.Layer) -> 'UndefineDomain':
        """Read what has to be given back."""
        definition = domain.definition()
        return cls(uuid=domain.uuid, qemu_id=qemu_id, root=root,
                   xml=definition.xml, autostart=definition.autostart,
                   snapshots=[list(s) for s in definition.snapshots],
                   checkpoints=[list(c) for c in definition.checkpoints])

    @classmethod
    def from_facts(cls, facts: dict[str, ty.Any]) -> 'UndefineDomain':
        """Build the step again, with the layer that its facts describe."""
        return cls(**{**facts,
                      'root': layer_model.Layer.from_dict(facts['root'])})

    def facts(self) -> dict[str, ty.Any]:
        """Return the fields; of the layer what earlier releases wrote.

        One that is undefined has no disk in Ceph.
        """
        facts = super().facts()
        del facts['root']['ceph']
        return facts

    def do(self, world: world_module.World) -> None:
        """Take the definition away, keeping NVRAM and TPM state.

        :raises HypervisorError: when libvirt refuses, or when it was changed
            since; it is still defined
        """
        domain = world.host.domain(self.uuid)
        # Asked at the last moment: what is taken away must be what we have
        # read, and a guest that is off would be gone.
        if (domain.qemu_id() != self.qemu_id
                or domain.definition_xml() != self.xml):
            raise errors.HypervisorError(
                instance=self.uuid, call='undefineFlags',
                reason='it was stopped, started or defined anew since')
        domain.undefine()

    def undo(self, world: world_module.World) -> None:
        """Define the domain again, by three rules.

        Transient, it is defined. Defined, it was changed since and is left
        as it is; but if it is our definition word for word, it may have been
        us, who did not come as far as autostart and metadata. Gone, it is
        defined only while the storage has its root disk, otherwise the
        instance was deleted since; and one of Nova's only if Nova still has
        it here: on shared storage the disk is there, too, after it was moved.

        :raises HypervisorError: when libvirt refuses the definition
        :raises StorageError: when the storage cannot be asked
        :raises Refused: when it is gone, is Nova's, and Nova cannot be asked
        """
        domain = world.host.domain(self.uuid)
        definition = domain_module.Definition(
            xml=self.xml, autostart=self.autostart,
            snapshots=tuple((n, x) for n, x in self.snapshots),
            checkpoints=tuple((n, x) for n, x in self.checkpoints))
        try:
            if domain.is_persistent():
                if domain.definition_xml() == self.xml:
                    domain.complete(definition)
                return
        except errors.DomainGone:
            if not world.files.has_layer(self.root):
                LOG.warning('Domain %s is gone and so is its root disk %s: '
                            'the instance was deleted and is not defined '
                            'again', self.uuid, self.root.path)
                return
            if not world.lets_return(domain_model.parse(self.xml)):
                return
        domain.define_again(definition)
