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

"""A device of the host, out of the guest's hands."""

import collections.abc as cabc
import dataclasses
import functools
import os

from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import device_events as device_events_module
from nova_snap.hypervisor import domain as domain_module
from nova_snap.model import domain as domain_model
from nova_snap.model import hostdev as hostdev_model
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

# Where the host has its devices. libvirt says no more than that an error
# occurred of one that it does not have.
PCI_DEVICES = '/sys/bus/pci/devices'
MEDIATED_DEVICES = '/sys/bus/mdev/devices'

# Between two looks at a device that is to be released: most guests let go
# within a moment, and one with a busy driver needs seconds. An event ends a
# pause early, where there is one.
FIRST_LOOK_SECONDS = 0.1
LONGEST_LOOK_SECONDS = 1.0


@dataclasses.dataclass
class DetachHostdev(step_module.Step):
    """Hold: a passed-through device is out of the running guest.

    A guest is asked to release it, and may take its time or refuse: libvirt
    says yes to the request in either case.

    :ivar qemu_id: the QEMU process that has it
    :ivar xml: as the XML of the running guest had it
    :ivar is_defined: the guest's definition gives it the device, too;
        otherwise it was attached to the running guest alone
    :ivar timeout: seconds for the guest to release it
    :ivar is_released: the guest has released it
    :source: virDomainDetachDeviceFlags
    """

    uuid: str
    qemu_id: int
    xml: str
    is_defined: bool
    timeout: int
    is_released: bool = False
    # Known to the process that has waited, and to no other: after it the
    # guest will not release the device any more.
    _has_waited = False

    @classmethod
    def all_of(cls, domain: domain_module.Domain, qemu_id: int,
               devices: cabc.Sequence[hostdev_model.Hostdev],
               timeout: int) -> list['DetachHostdev']:
        """Read what has to be given back."""
        definition = domain.definition_xml() if devices else ''
        return [cls(uuid=domain.uuid, qemu_id=qemu_id, xml=device.xml,
                    is_defined=hostdev_model.is_defined(device, definition),
                    timeout=timeout) for device in devices]

    def do(self, world: world_module.World) -> None:
        """Ask the guest for it, and wait until it is released.

        :raises HostdevStuck: when the guest does not release it, or libvirt
            does not ask; the guest has it
        """
        domain = world.host.domain(self.uuid)
        with world.host.device_events(self.uuid) as events:
            self._refuse_other_process(domain)
            try:
                domain.detach_device(self.xml)
            except errors.DomainGone:
                raise
            except errors.HypervisorError as exc:
                raise self._stuck(exc.reason) from exc
            self._await_release(world, domain, events)
        self.is_released = True

    def _await_release(self, world: world_module.World,
                       domain: domain_module.Domain,
                       events: device_events_module.DeviceEvents) -> None:
        for _ in self._looks(world, events.wait):
            found = self._among(domain.hostdevs())
            if found is None:
                return
            self._refuse_other_process(domain)
            if found.alias in events.refused:
                self._has_waited = True
                raise self._stuck('the guest refuses')
        self._has_waited = True
        raise self._stuck(
            f'the guest has not done so within {self.timeout} s '
            '([nova_snap]detach_timeout); does it run a driver that lets go '
            'of it? If it does so later, give it back: '
            + hostdev_model.attach_command(self.uuid, self.xml))

    def undo(self, world: world_module.World) -> None:
        """Give the device back to the guest, if it has not got it.

        A guest that is off gets it with its next start. One that is saved by
        us has to be started first.

        :raises HostdevLost: when it cannot be given back: its address is
            taken, or it is gone from the host
        :raises Refused: when the guest is Nova's, which may have acted on it
            since
        """
        domain = world.host.domain(self.uuid)
        try:
            if domain.is_active():
                self._give_back(world, domain)
            elif domain.has_managed_save() and world.lets_return(
                    domain.model()):
                raise self._lost('the guest is saved and was not started')
        except errors.DomainGone:
            LOG.warning('Domain %s is gone: %s is not given back', self.uuid,
                        self._device)

    def _give_back(self, world: world_module.World,
                   domain: domain_module.Domain) -> None:
        model = self._model_without(world, domain)
        if model is None or not world.lets_return(model):
            return
        if self.is_defined and not hostdev_model.is_defined(
                self._device, domain.definition_xml()):
            LOG.warning('%s of %s was taken out of its definition since '
                        'and is not given back', self._device, self.uuid)
            return
        try:
            domain.attach_device(hostdev_model.attach_xml(self.xml))
        except errors.DomainGone:
            raise
        except errors.HypervisorError as exc:
            raise self._lost(exc.reason + self._why_not(world)) from exc
        if (found := self._among(domain.hostdevs())) != self._device:
            raise self._lost(f'it came back as {found!r}')

    def _why_not(self, world: world_module.World) -> str:
        """Say what libvirt does not: whether the device is there at all."""
        path = os.path.join(
            MEDIATED_DEVICES if self._device.kind == hostdev_model.MEDIATED
            else PCI_DEVICES, self._device.host_address)
        return '' if world.files.exists(path) else f'; there is no {path}'

    def _model_without(self, world: world_module.World,
                       domain: domain_module.Domain) -> (
                           domain_model.Domain | None):
        """Return the guest without the device, None when it keeps it.

        A guest that was asked by a process that is dead may release it yet.
        """
        for _ in self._looks(world):
            model = domain.model()
            if self._among(model.hostdevs) is None:
                return model
            if (self.is_released or self._has_waited
                    or domain.qemu_id() != self.qemu_id):
                return None
        return None

    def _looks(self, world: world_module.World,
               wait: clock_module.Wait | None = None) -> cabc.Iterator[None]:
        return world.clock.looks(
            self.timeout, first_pause=FIRST_LOOK_SECONDS,
            longest_pause=LONGEST_LOOK_SECONDS, wait=wait)

    def _refuse_other_process(self, domain: domain_module.Domain) -> None:
        if domain.qemu_id() != self.qemu_id:
            raise self._stuck('the guest was stopped or started since')

    @functools.cached_property
    def _device(self) -> hostdev_model.Hostdev:
        return hostdev_model.parse(self.xml)

    def _among(self, hostdevs: cabc.Iterable[hostdev_model.Hostdev]) -> (
            hostdev_model.Hostdev | None):
        """Return the device as the running guest has it."""
        return next((found for found in hostdevs
                     if found.is_same(self._device)), None)

    def _stuck(self, reason: str) -> errors.HostdevStuck:
        return errors.HostdevStuck(
            instance=self.uuid, hostdev=str(self._device), reason=reason)

    def _lost(self, reason: str) -> errors.HostdevLost:
        return errors.HostdevLost(
            instance=self.uuid, hostdev=str(self._device), reason=reason)
