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

"""A libvirt that knows fake domains.

It stands behind the real :class:`nova_snap.hypervisor.host.Host` and
:class:`nova_snap.hypervisor.domain.Domain`, at the place of libvirt's own
binding: what is said to it, and which flags, is the product's word.
"""

# ruff: noqa: N802, N803 - libvirt's names

import collections.abc as cabc
import dataclasses
import functools
import json
import os
import re
import typing as ty

import libvirt
from lxml import etree

from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import host as host_module
from tests.fakes import calls as fake_calls
from tests.fakes import clock as fake_clock
from tests.fakes import disk as fake_disk
from tests.fakes import domain as fake_domain
from tests.fakes import guest as fake_guest
from tests.fakes import refusal

OUTSIDE = 'libvirt'
URI = 'fake:///system'
UUID_LIKE = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')

# Calls of a domain that change something, or that a process in the guest
# notices.
CHANGES = frozenset((
    'abortJob', 'agentSetResponseTimeout', 'attachDeviceFlags',
    'backupBegin', 'blockCopy', 'blockJobAbort', 'blockRebase',
    'checkpointCreateXML', 'createWithFlags', 'detachDeviceFlags',
    'fsFreeze', 'fsThaw', 'getTime', 'managedSave', 'qemuAgentCommand',
    'resume', 'setAutostart', 'setTime', 'snapshotCreateXML',
    'undefineFlags'))
AGENT_CALLS = frozenset(('fsFreeze', 'fsThaw', 'getTime', 'qemuAgentCommand',
                         'setTime'))


class FakeLibvirtd:
    """What libvirt knows, for each client alike.

    :ivar moments: what was, each time a disk was taken: at the abort of a
        mirror that was ready, and at each save
    :ivar version: as getLibVersion tells it
    :ivar refuses_define_during_job: as no libvirt is known to do
    :ivar secrets: the UUIDs and usages of those that it has
    :ivar event_delay: seconds until an event says that a job has ended
    """

    def __init__(self, clock: fake_clock.FakeClock) -> None:
        self.clock = clock
        self.domains: dict[str, fake_domain.FakeDomain] = {}
        self.moments: list[fake_guest.Moment] = []
        self.version = 9_000_000
        self.refuses_define_during_job = False
        self.event_delay = 0.0
        self.secrets: set[str] = set()
        self.generation = 0
        self.listeners: dict[int, Listener] = {}
        self._ids = 0
        self._callbacks = 0

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def define(self, xml: str) -> fake_domain.FakeDomain:
        """Define a domain, or define one that is there anew."""
        tree = etree.fromstring(xml)
        uuid = str(tree.findtext('uuid'))
        # libvirt keeps what it understood, not what it was given.
        xml = etree.tostring(tree, encoding='unicode')
        if uuid in self.domains:
            self.domains[uuid].define(xml)
        else:
            self.domains[uuid] = fake_domain.FakeDomain(self, xml)
        return self.domains[uuid]

    def live_on(self) -> None:
        """Let every guest do what it does."""
        for domain in self.domains.values():
            domain.live_on()

    def restart(self) -> None:
        """Restart, as a package update does: connections break."""
        self.generation += 1

    def listen(self, listener: 'Listener') -> int:
        """Call it at each end of a job, as long as its connection lives."""
        self._callbacks += 1
        self.listeners[self._callbacks] = listener
        return self._callbacks

    def tell_job(self, target: str, status: int, error: str | None, *,
                 is_cancelled: bool = False) -> None:
        """Tell those who listen that a copy job has ended.

        :param error: what only QEMU tells
        :param is_cancelled: it was told to end before it was ready
        """
        told = {'device': f'copy-{target}-libvirt-1-format'}
        if error is not None:
            told['error'] = error
        name = 'BLOCK_JOB_CANCELLED' if is_cancelled else 'BLOCK_JOB_COMPLETED'

        def tell() -> None:
            # QEMU's word comes first.
            for listener in self._listeners(None):
                listener.call(None, None, name, 0, 0, json.dumps(told), None)
            for listener in self._listeners(
                    libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2):
                listener.call(None, None, target,
                              libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY, status,
                              None)

        if self.event_delay:
            self.clock.after(self.event_delay, tell)
        else:
            tell()

    def _listeners(self, event: int | None) -> list['Listener']:
        """Return who hears of an event: those whose connection lives."""
        return [one for one in self.listeners.values()
                if (one.generation, one.event) == (self.generation, event)]

    def tell_device(self, alias: str, *, refused: bool) -> None:
        """Tell those who listen what became of a device's release."""
        event = (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED if refused
                 else libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED)
        for listener in self._listeners(event):
            listener.call(None, None, alias, None)

    def files_in_use(self) -> set[str]:
        """Return what QEMU has open for writing."""
        return set().union(*(domain.files_in_use()
                             for domain in self.domains.values()))

    def exported(self, socket: str, export: str) -> tuple[
            fake_disk.Clusters, int]:
        """Return the content and size of a disk that a QEMU serves.

        :raises KeyError: when no QEMU does
        """
        for domain in self.domains.values():
            job = domain.backup
            if (job is not None and job.socket == socket
                    and not job.is_ending):
                return job.disks[export]
        raise KeyError(socket)

    def bitmap_of(self, socket: str, export: str) -> str | None:
        """Return as what a QEMU serves the changes of a disk."""
        for domain in self.domains.values():
            if domain.backup is not None and domain.backup.socket == socket:
                return domain.backup.bitmaps.get(export)
        return None

    def held_files(self) -> set[tuple[int, int]]:
        """Return the device and inode of each file that a QEMU has open."""
        return set().union(*(domain.held for domain in self.domains.values()
                             if domain.live is not None))


@dataclasses.dataclass
class Listener:
    """A callback.

    :ivar generation: of the connection it was registered with
    :ivar event: libvirt's number of what it hears; None for what QEMU says
    :ivar uuid: of the domain it hears of; None for all
    """

    call: cabc.Callable[..., None]
    connection: 'FakeConnection'
    generation: int
    event: int | None
    uuid: str | None = None


class FakeConnection:
    """One process's connection."""

    def __init__(self, libvirtd: FakeLibvirtd,
                 calls: fake_calls.Calls) -> None:
        self._libvirtd = libvirtd
        self._generation = libvirtd.generation
        self._calls = calls

    def isAlive(self) -> int:
        return int(self._generation == self._libvirtd.generation)

    def getLibVersion(self) -> int:
        self._require_alive()
        return self._libvirtd.version

    def getVersion(self) -> int:
        return 7_002_000

    def lookupByUUIDString(self, uuidstr: str) -> 'Handle':
        self._require_alive()
        if not UUID_LIKE.fullmatch(uuidstr):
            raise refusal.refusal(
                libvirt.VIR_ERR_INVALID_ARG, f'invalid argument: {uuidstr} '
                'in virDomainLookupByUUIDString must be a valid UUID')
        if uuidstr not in self._libvirtd.domains:
            raise refusal.no_domain(uuidstr)
        return Handle(self._calls, self._libvirtd, uuidstr)

    def lookupByName(self, name: str) -> 'Handle':
        for domain in self._libvirtd.domains.values():
            if domain.name() == name:
                return self.lookupByUUIDString(domain.uuid)
        raise refusal.no_domain(name)

    def listAllDomains(self, flags: int = 0) -> list['Handle']:
        return [Handle(self._calls, self._libvirtd, uuid)
                for uuid in self._libvirtd.domains]

    def defineXML(self, xml: str) -> 'Handle':
        self._require_alive()
        domain = self._calls.make(
            OUTSIDE, 'defineXML', lambda: self._libvirtd.define(xml),
            error=refusal.planted)
        return self.lookupByUUIDString(domain.uuid)

    def domainEventRegisterAny(self, dom: 'Handle', eventID: int,
                               cb: cabc.Callable[..., None],
                               opaque: ty.Any) -> int:
        return int(self._calls.make(
            OUTSIDE, 'domainEventRegisterAny',
            lambda: self.listen(cb, dom, eventID), changes=False,
            error=refusal.planted))

    def listen(self, call: cabc.Callable[..., None],
               domain: ty.Optional['Handle'],
               event: int | None = None) -> int:
        """Register a callback, once for a domain or for all."""
        self._require_alive()
        uuid = None if domain is None else domain._uuid
        if any((one.connection, one.uuid, one.event) == (self, uuid, event)
               for one in self._libvirtd.listeners.values()):
            raise refusal.refusal(
                libvirt.VIR_ERR_INVALID_ARG,
                'invalid argument: event callback already tracked')
        return self._libvirtd.listen(
            Listener(call, self, self._generation, event, uuid))

    def domainEventDeregisterAny(self, callbackID: int) -> None:
        self._calls.make(OUTSIDE, 'domainEventDeregisterAny',
                         lambda: self.forget(callbackID), changes=False,
                         error=refusal.planted)

    def secretLookupByUUIDString(self, uuidstr: str) -> None:
        self._calls.make(OUTSIDE, 'secretLookupByUUIDString',
                         lambda: self._find_secret(uuidstr), changes=False,
                         error=refusal.planted)

    def secretLookupByUsage(self, usageType: int, usageID: str) -> None:
        self._calls.make(OUTSIDE, 'secretLookupByUsage',
                         lambda: self._find_secret(usageID), changes=False,
                         error=refusal.planted)

    def _find_secret(self, name: str) -> None:
        self._require_alive()
        if name not in self._libvirtd.secrets:
            raise refusal.refusal(
                libvirt.VIR_ERR_NO_SECRET, 'Secret not found: no secret with '
                f"matching '{name}'")

    def forget(self, number: int) -> None:
        """Call a callback no more."""
        self._require_alive()
        if self._libvirtd.listeners.pop(number, None) is None:
            raise refusal.refusal(
                libvirt.VIR_ERR_INVALID_ARG, 'invalid argument: could not '
                f'find event callback {number} for deletion')

    def _require_alive(self) -> None:
        if not self.isAlive():
            raise refusal.closed()


class FakeQemuModule:
    """libvirt_qemu, as far as it passes events on."""

    def qemuMonitorEventRegister(
            self, conn: FakeConnection, dom: 'Handle', event: str,
            cb: cabc.Callable[..., None], opaque: ty.Any,
            flags: int = 0) -> int:
        # libvirt's binding calls nothing back for what only looks like one.
        assert isinstance(conn, FakeConnection)
        return conn.listen(cb, dom)

    def qemuAgentCommand(self, domain: 'Handle', cmd: str, timeout: int,
                         flags: int) -> str:
        assert isinstance(domain, Handle)
        return str(domain.qemuAgentCommand(cmd, timeout, flags))

    def qemuMonitorEventDeregister(self, conn: FakeConnection,
                                   callbackID: int) -> None:
        conn.forget(callbackID)


class Handle:
    """A domain as one process has it: each call is one of its calls.

    It stands for whatever has the UUID at the moment.
    """

    def __init__(self, calls: fake_calls.Calls, libvirtd: FakeLibvirtd,
                 uuid: str) -> None:
        self._calls = calls
        self._libvirtd = libvirtd
        self._uuid = uuid

    def __getattr__(self, name: str) -> cabc.Callable[..., ty.Any]:
        def call(*args: ty.Any, **named: ty.Any) -> ty.Any:
            return self._calls.make(
                OUTSIDE, name,
                functools.partial(self._ask, name, *args, **named),
                words=_words(name, args, named), changes=name in CHANGES,
                error=(refusal.silent_agent if name in AGENT_CALLS
                       else refusal.planted),
                half=(functools.partial(self._ask, 'begin_save')
                      if name == 'managedSave' else None))

        return call

    def _ask(self, name: str, *args: ty.Any, **named: ty.Any) -> ty.Any:
        domain = self._libvirtd.domains.get(self._uuid)
        if domain is None:
            raise refusal.no_domain(self._uuid)
        result = getattr(domain, name)(*args, **named)
        if isinstance(result, list):
            return [MetadataHandle(self._calls, one, domain)
                    if isinstance(one, fake_domain.Metadata) else one
                    for one in result]
        return result


class MetadataHandle:
    """A snapshot or checkpoint as one process has it."""

    def __init__(self, calls: fake_calls.Calls,
                 metadata: fake_domain.Metadata,
                 domain: fake_domain.FakeDomain) -> None:
        self._calls = calls
        self._metadata = metadata
        self._domain = domain

    def getName(self) -> str:
        return self._metadata.getName()

    def getXMLDesc(self, flags: int = 0) -> str:
        return str(self._calls.make(
            OUTSIDE, 'getXMLDesc', lambda: self._metadata.getXMLDesc(flags),
            changes=False, error=refusal.planted))

    def delete(self, flags: int = 0) -> int:
        return int(self._calls.make(
            OUTSIDE, 'checkpointDelete',
            lambda: self._domain.delete_checkpoint(self._metadata, flags),
            words=' '.join((self.getName(), _flags(
                'VIR_DOMAIN_CHECKPOINT_DELETE_', flags))).strip(),
            error=refusal.planted))


class FakeHost(host_module.Host):
    """The real one, over a fake connection."""

    def __init__(self, libvirtd: FakeLibvirtd,
                 calls: fake_calls.Calls) -> None:
        super().__init__(connection_module.Connection(
            URI, connect=lambda uri: FakeConnection(libvirtd, calls),
            clock=libvirtd.clock, qemu=FakeQemuModule()))


def _words(name: str, args: tuple[ty.Any, ...],
           named: dict[str, ty.Any]) -> str:
    """Say in words what is asked for, as far as a test cares.

    Nova names some arguments and leaves others out: its calls are not told
    in words.
    """
    make = _WORDS.get(name)
    if make is None or named:
        return ''
    return make(*args)


def _flags(prefix: str, value: int) -> str:
    """Name the flags that are set."""
    names = _flag_names(prefix)
    return '|'.join(names[1 << bit] for bit in range(value.bit_length())
                    if value & 1 << bit)


@functools.cache
def _flag_names(prefix: str) -> dict[int, str]:
    return {
        number: name.removeprefix(prefix)
        for name, number in vars(libvirt).items()
        if name.startswith(prefix) and isinstance(number, int)}


def _copy_words(disk: str, xml: str, params: dict[str, int],
                flags: int) -> str:
    path = etree.fromstring(xml).find('./source').get('file')
    words = [disk, os.path.basename(path), str(sum(params.values())),
             _flags('VIR_DOMAIN_BLOCK_COPY_', flags)]
    return ' '.join(words)


def _device_words(xml: str, flags: int) -> str:
    """Name a device by the host's address, and what tells how it is asked."""
    element = etree.fromstring(xml)
    address = element.find('./source/address')
    if address is None:
        where = element.find('./source').get('dev')
    else:
        where = address.get('uuid') or '{}:{}.{}'.format(
            *(address.get(part)[2:] for part in ('bus', 'slot', 'function')))
    return f'{element.tag} {element.get("type")} {where}'


_WORDS: dict[str, cabc.Callable[..., str]] = {
    'attachDeviceFlags': _device_words,
    'detachDeviceFlags': _device_words,
    'agentSetResponseTimeout': lambda seconds, flags: str(seconds),
    'backupBegin': lambda xml, checkpoint, flags: ' '.join(
        [disk.get('name') for disk in etree.fromstring(xml).iter('disk')]
        + [f'since {one.text}'
           for one in etree.fromstring(xml).iter('incremental')]
        + ([f'making {etree.fromstring(checkpoint).findtext("name")}']
           if checkpoint else [])),
    'blockCopy': _copy_words,
    'blockJobAbort': lambda disk, flags: ' '.join((
        disk, _flags('VIR_DOMAIN_BLOCK_JOB_ABORT_', flags))),
    'blockRebase': lambda disk, base, bandwidth, flags: ' '.join((
        disk, os.path.basename(base), str(bandwidth),
        _flags('VIR_DOMAIN_BLOCK_REBASE_', flags))),
    'checkpointCreateXML': lambda xml, flags: str(
        etree.fromstring(xml).findtext('name')),
    'createWithFlags': lambda flags: _flags('VIR_DOMAIN_START_', flags),
    'setAutostart': str,
    'snapshotCreateXML': lambda xml, flags: str(
        etree.fromstring(xml).findtext('name')),
    'undefineFlags': lambda flags: _flags('VIR_DOMAIN_UNDEFINE_', flags),
}
