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

"""The faults: what is done to a snapshot at one of its calls.

A fault of a child happens within the process that takes the snapshot; one
that is acted is done by the campaign, as another client or the machine does
it, while that process waits at the call.
"""

import collections.abc as cabc
import dataclasses
import enum
import signal
import typing as ty

import libvirt

from tests.faults import border as border_module
from tests.faults import calls as calls_module
from tests.faults import flows as flows_module
from tests.faults import hostile
from tests.faults import sick

BEFORE, AFTER = border_module.BEFORE, border_module.AFTER
# Of a request that fails on its way.
DURING = 'during'


class Group(enum.Enum):
    """What fails; as in the table of README."""

    PROCESS = 'process'
    LIBVIRT = 'libvirt'
    GUEST = 'guest'
    DISK = 'disk'
    SERVICE = 'Glance and Cinder'
    CEPH = 'Ceph'
    LOAD = 'load'
    HOSTILE = 'hostile input, secrets'


class After(enum.Enum):
    """How the guest must be at the end of a case."""

    #: as it was, and writing
    SAME = enum.auto()
    #: off and defined: another client, or the machine, has stopped it
    OFF = enum.auto()
    #: paused by another client
    PAUSED = enum.auto()
    #: gone, by another client's will
    GONE = enum.auto()
    #: running, in whatever QEMU process
    RUNNING = enum.auto()
    #: gone or off: it runs on another host
    AWAY = enum.auto()
    #: without a promise about its definition: another client changed that
    ANY = enum.auto()


Strikes = cabc.Callable[[calls_module.Call], tuple[str, ...]]


# Each is one: the value of some cannot be hashed.
@dataclasses.dataclass(frozen=True, eq=False)
class Fault:
    """One fault.

    :ivar strikes: when it happens to a call: before, after, or never
    :ivar kind: of what happens in the child; a method of its Strike
    :ivar value: how
    :ivar dies: the process that takes the snapshot does not live on
    :ivar aftermath: what is done between its end and its recovery; a method
        of :class:`tests.faults.aftermath.Aftermath`
    :ivar lasts: it happens again and again, until the process ends
    :ivar on_small: snapshots_directory is a file system of its own
    """

    name: str
    group: Group
    strikes: Strikes
    kind: str
    value: ty.Any = None
    dies: bool = False
    aftermath: str = ''
    after: After = After.SAME
    lasts: bool = False
    on_small: bool = False


def _acts(call: calls_module.Call) -> tuple[str, ...]:
    """Strike before and after what changes the world.

    What lies between the end of an act and the beginning of the next one is
    one state: the end of an act of libvirt's or of a service is apart from
    the note of it.
    """
    return (BEFORE, AFTER) if _is_act(call) else ()


def _is_act(call: calls_module.Call) -> bool:
    """Tell whether a call in the child changes the world."""
    return not call.is_look and call.border != calls_module.SERVICE


def _before_acts(call: calls_module.Call) -> tuple[str, ...]:
    return (BEFORE,) if _is_act(call) else ()


def _writes(call: calls_module.Call) -> tuple[str, ...]:
    return (BEFORE,) if call.name == 'Store.write' else ()


def _libvirt_acts_after(call: calls_module.Call) -> tuple[str, ...]:
    return (AFTER,) if _is_libvirt(call) and not call.is_look else ()


def _libvirt_acts(call: calls_module.Call) -> tuple[str, ...]:
    return (BEFORE,) if _is_libvirt(call) and not call.is_look else ()


def _is_libvirt(call: calls_module.Call) -> bool:
    return call.border == calls_module.LIBVIRT


def _host(call: calls_module.Call) -> tuple[str, ...]:
    """Strike what is neither libvirt's nor a look."""
    return (BEFORE,) if _is_act(call) and not _is_libvirt(call) else ()


def _agents(call: calls_module.Call) -> tuple[str, ...]:
    return (BEFORE,) if call.name in AGENT_CALLS else ()


def _powers(call: calls_module.Call) -> tuple[str, ...]:
    """Strike between two writes of the journal, too."""
    return _libvirt_acts_after(call) or _writes(call)


def _ceph(call: calls_module.Call) -> tuple[str, ...]:
    return (BEFORE,) if call.border == 'Ceph' else ()


def _ceph_acts(call: calls_module.Call) -> tuple[str, ...]:
    return () if call.is_look else _ceph(call)


def _ceph_acts_after(call: calls_module.Call) -> tuple[str, ...]:
    return (AFTER,) if _ceph_acts(call) else ()


def _foreign(call: calls_module.Call) -> tuple[str, ...]:
    """Strike before the plan is made, and before each act on the guest."""
    return _libvirt_acts(call) or _only('Locks.instance')(call)


def _files(call: calls_module.Call) -> tuple[str, ...]:
    """Strike before what writes below snapshots_directory, or has it done."""
    return (BEFORE,) if call.name in WRITING else ()


def _programs(call: calls_module.Call) -> tuple[str, ...]:
    return (BEFORE,) if call.name == 'QemuImg.convert' else ()


def _only(*calls: str) -> Strikes:
    """Strike before the calls of these names."""
    return lambda call: (BEFORE,) if call.name in calls else ()


def _requests(*methods: str) -> Strikes:
    """Strike the requests of these methods; all of them when none is named.

    In the place of a request there is no before and after.
    """
    return lambda call: ((DURING,) if call.border == calls_module.SERVICE
                         and (not methods
                              or call.name.split('-')[1] in methods) else ())


def _whole(*flows: str) -> Strikes:
    """Take the snapshot as a whole, of these flows."""
    return lambda call: ((DURING,) if call.border == calls_module.WHOLE
                         and call.says in flows else ())


# The calls that a guest's agent answers.
AGENT_CALLS = frozenset(('fsFreeze', 'fsThaw', 'setTime',
                         'agentSetResponseTimeout'))
# The calls that lead to bytes below snapshots_directory.
WRITING = frozenset((
    'QemuImg.create_overlay', 'QemuImg.convert', 'blockRebase', 'blockCopy',
    'backupBegin', 'blockJobAbort', 'Files.make_scratch', 'Files.own',
    'Files.make_lent', 'Files.clone', 'Images.upload'))
# Those at which the worst happens, where a fault costs half a minute.
WORST = _only('blockRebase', 'blockJobAbort', 'fsThaw', 'managedSave',
              'createWithFlags', 'backupBegin')

PROCESS = (
    Fault('sigkill', Group.PROCESS, _acts, 'signal', signal.SIGKILL,
          dies=True),
    Fault('sigterm', Group.PROCESS, _acts, 'signal', signal.SIGTERM),
    Fault('sigint', Group.PROCESS, _before_acts, 'signal', signal.SIGINT),
    # Recovery is killed before each of its own acts in turn.
    Fault('recovery-killed', Group.PROCESS, _libvirt_acts_after, 'signal',
          signal.SIGKILL, dies=True, aftermath='kill_recoveries'),
    Fault('two-recoveries', Group.PROCESS, _libvirt_acts_after, 'signal',
          signal.SIGKILL, dies=True, aftermath='recover_twice_at_once'),
    Fault('next-snapshot', Group.PROCESS, _libvirt_acts_after, 'signal',
          signal.SIGKILL, dies=True, aftermath='take_the_next'),
    Fault('record-half-written', Group.PROCESS, _writes, 'torn', 0.5,
          dies=True),
    Fault('record-empty', Group.PROCESS, _writes, 'torn', 0, dies=True),
    Fault('record-truncated', Group.PROCESS, _libvirt_acts_after, 'signal',
          signal.SIGKILL, dies=True, aftermath='truncate_record'),
    Fault('power', Group.PROCESS, _powers, 'signal',
          signal.SIGKILL, dies=True, aftermath='lose_power',
          after=After.OFF),
    Fault('fails', Group.PROCESS, _host, 'fail'),
)

# What libvirt is documented to answer. :source: libvirt/virterror.h
CODES = {
    'internal-error': libvirt.VIR_ERR_INTERNAL_ERROR,
    'operation-failed': libvirt.VIR_ERR_OPERATION_FAILED,
    'operation-invalid': libvirt.VIR_ERR_OPERATION_INVALID,
    'operation-timeout': libvirt.VIR_ERR_OPERATION_TIMEOUT,
    'operation-unsupported': libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    'operation-aborted': libvirt.VIR_ERR_OPERATION_ABORTED,
    'access-denied': libvirt.VIR_ERR_ACCESS_DENIED,
    'no-memory': libvirt.VIR_ERR_NO_MEMORY,
    # As of a connection that breaks in the middle of a call.
    'system-error': libvirt.VIR_ERR_SYSTEM_ERROR,
}
AGENT_CODES = {
    'agent-unresponsive': libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    'agent-unsynced': libvirt.VIR_ERR_AGENT_UNSYNCED,
}


def _any_libvirt(call: calls_module.Call) -> tuple[str, ...]:
    return (BEFORE,) if _is_libvirt(call) else ()


LIBVIRT = (
    *(Fault(f'libvirt-{name}', Group.LIBVIRT, _libvirt_acts, 'libvirt', code)
      for name, code in CODES.items()),
    *(Fault(f'libvirt-{name}', Group.LIBVIRT, _agents, 'libvirt', code)
      for name, code in AGENT_CODES.items()),
    Fault('libvirt-look-fails', Group.LIBVIRT,
          lambda call: _any_libvirt(call) if call.is_look else (),
          'libvirt', libvirt.VIR_ERR_INTERNAL_ERROR),
    Fault('libvirt-answer-lost', Group.LIBVIRT, _libvirt_acts_after,
          'libvirt', libvirt.VIR_ERR_SYSTEM_ERROR),
    # Each call of that name fails, also when it undoes.
    Fault('libvirt-fails-always', Group.LIBVIRT, _libvirt_acts, 'libvirt',
          libvirt.VIR_ERR_INTERNAL_ERROR, lasts=True),
    Fault('libvirtd-restarted', Group.LIBVIRT, _libvirt_acts, 'ask',
          'restart_libvirtd'),
    Fault('libvirtd-killed', Group.LIBVIRT, _libvirt_acts, 'ask',
          'kill_libvirtd'),
    Fault('libvirtd-paused', Group.LIBVIRT, WORST, 'ask', 'pause_libvirtd'),
    Fault('libvirtd-hangs', Group.LIBVIRT, WORST, 'ask', 'hang_libvirtd'),
    Fault('qemu-paused', Group.LIBVIRT, WORST, 'ask', 'pause_qemu'),
)

GUEST = (
    Fault('guest-destroyed', Group.GUEST, _libvirt_acts, 'ask',
          'destroy_guest', after=After.OFF),
    Fault('qemu-killed', Group.GUEST, WORST, 'ask', 'kill_qemu',
          after=After.OFF),
    Fault('guest-paused', Group.GUEST, _libvirt_acts, 'ask', 'pause_guest',
          after=After.PAUSED),
    Fault('guest-reset', Group.GUEST, WORST, 'ask', 'reset_guest',
          after=After.RUNNING),
    Fault('guest-shut-down', Group.GUEST, WORST, 'ask', 'shut_guest_down',
          after=After.OFF),
    Fault('guest-undefined', Group.GUEST, WORST, 'ask', 'undefine_guest',
          after=After.ANY),
    Fault('guest-deleted', Group.GUEST, WORST, 'ask', 'delete_guest',
          after=After.GONE),
    Fault('guest-started', Group.GUEST,
          _only('QemuImg.convert', 'Images.upload', 'Exports.source'), 'ask',
          'start_guest', after=After.RUNNING),
    Fault('guest-migrated', Group.GUEST, WORST, 'ask', 'migrate_guest',
          after=After.AWAY),
    # As of a client that moves the disk.
    Fault('foreign-job', Group.GUEST, _foreign, 'ask', 'start_foreign_job'),
    *(Fault(f'agent-{word}', Group.GUEST,
            _whole('live', 'live-stream', 'backup'), 'scenario',
            f'agent {word}')
      for word in sick.AGENTS),
)

DISK = (
    *(Fault(f'full-{name}', Group.DISK, _files, 'ask', f'fill {left}',
            on_small=True)
      for name, left in (('now', 0), ('64K', 64 << 10), ('1M', 1 << 20),
                         ('3M', 3 << 20), ('9M', 9 << 20),
                         ('20M', 20 << 20))),
    Fault('read-only', Group.DISK, _files, 'ask', 'make_read_only',
          on_small=True),
    Fault('disk-gone', Group.DISK, _files, 'ask', 'break_down',
          on_small=True),
    Fault('not-enterable', Group.DISK,
          _only('blockRebase', 'blockCopy', 'backupBegin'), 'ask',
          'close_directory', on_small=True),
    Fault('scratch-removed', Group.DISK, _files, 'ask', 'remove_scratch'),
    Fault('qemu-img-killed', Group.DISK, _programs, 'ask',
          'kill_program qemu-img'),
    Fault('qemu-nbd-killed', Group.DISK,
          _only('Exports.source', 'Images.upload'), 'ask',
          'kill_program qemu-nbd'),
    # QEMU's blkdebug fails to read one sector of it.
    Fault('source-unreadable', Group.DISK,
          _whole('live', 'live-stream', 'live-copy', 'backup', 'cold',
                 'stopped-raw'),
          'scenario', 'unreadable_disk'),
)

STATUSES = (401, 403, 404, 409, 410, 413, 429, 500, 502, 503)
SERVICE = (
    *(Fault(f'status-{status}', Group.SERVICE, _requests(), 'proxy',
            {'status': status}) for status in STATUSES),
    *(Fault(f'always-{status}', Group.SERVICE, _requests('PUT', 'POST'),
            'proxy', {'status': status, 'nth': None})
      for status in (401, 403, 413, 503)),
    Fault('retry-after', Group.SERVICE, _requests(), 'proxy',
          {'status': 429, 'headers': {'Retry-After': '1'}}),
    Fault('reset', Group.SERVICE, _requests(), 'proxy', {'drop_after': 0}),
    Fault('reset-in-the-middle', Group.SERVICE, _requests('PUT'), 'proxy',
          {'drop_after': 3 << 20}),
    Fault('black-hole', Group.SERVICE, _requests(), 'proxy',
          {'hang_after': 0}),
    Fault('black-hole-in-the-middle', Group.SERVICE, _requests('PUT'),
          'proxy', {'hang_after': 3 << 20}),
    Fault('answer-lost', Group.SERVICE, _requests(), 'proxy',
          {'lose_response': True}),
    Fault('fewer-bytes', Group.SERVICE, _requests('PUT'), 'proxy',
          {'keep': 3 << 20}),
    Fault('other-bytes', Group.SERVICE, _requests('PUT'), 'proxy',
          {'alter': 3 << 20}),
    Fault('image-deleted', Group.SERVICE, _requests('PUT'), 'proxy',
          {'call': 'delete_images', 'call_after': 3 << 20}),
    # From this request on.
    Fault('gone', Group.SERVICE, _requests(), 'proxy', {'refuses': True}),
    Fault('token-expires', Group.SERVICE, _requests(), 'proxy',
          {'status': 401, 'lasts': True}),
    Fault('a-byte-a-second', Group.SERVICE, _requests(), 'proxy',
          {'trickles': True}),
    Fault('wrong-hash', Group.SERVICE,
          lambda call: (DURING,) if call.name == 'glance-GET-images-ID'
          else (), 'proxy', {'says': {'os_hash_value': '0' * 128}}),
    Fault('wrong-size', Group.SERVICE,
          lambda call: (DURING,) if call.name == 'glance-GET-images-ID'
          else (), 'proxy', {'says': {'size': 3 << 20}}),
)

CEPH = (
    *(Fault(f'ceph-{kind.lower()}', Group.CEPH, _ceph, 'ceph', kind)
      for kind in ('Refused', 'Full', 'Gone', 'Busy')),
    Fault('ceph-silent', Group.CEPH, _ceph, 'ceph', 'Unavailable',
          lasts=True),
    Fault('ceph-answer-lost', Group.CEPH, _ceph_acts_after, 'ceph',
          'Unavailable'),
    # By its owner, while its data are written.
    Fault('record-deleted', Group.CEPH, _ceph_acts, 'ask', 'delete_images'),
    Fault('last-image-deleted', Group.CEPH,
          _only('checkpointCreateXML', 'virDomainCheckpoint.delete',
                'Checkpoints.write'), 'ask', 'delete_last_image'),
    # As where the disk is put back from a backup.
    Fault('bitmap-removed', Group.DISK, _only('checkpointCreateXML'), 'ask',
          'remove_bitmaps'),
    Fault('osd-paused', Group.CEPH, _ceph_acts, 'ask', 'pause_osd'),
    Fault('osd-hangs', Group.CEPH, _ceph_acts, 'ask', 'hang_osd'),
)


LIVE_FLOWS = ('live', 'live-stream', 'backup')
LOAD = (
    Fault('same-instance-twice', Group.LOAD,
          _whole(*LIVE_FLOWS, 'cold', 'incremental'), 'scenario',
          'same_instance_twice'),
    Fault('recovery-next-to-another', Group.LOAD, _whole(*LIVE_FLOWS),
          'scenario', 'recovery_next_to_another'),
    Fault('hundred-records', Group.LOAD, _whole('live', 'stopped'),
          'scenario', 'hundred_records'),
    Fault('eight-guests', Group.LOAD, _whole(*LIVE_FLOWS), 'scenario',
          'eight_guests'),
)
HOSTILE = (
    *(Fault(f'header-{name}', Group.HOSTILE, _whole('stopped-raw'),
            'scenario', f'header {name}') for name in hostile.HEADERS),
    *(Fault(f'name-{name}', Group.HOSTILE, _whole('stopped'),
            'scenario', f'name {name}') for name in hostile.NAMES),
    Fault('link-waits', Group.HOSTILE, _files, 'ask', 'plant_links'),
    Fault('debug-log', Group.HOSTILE,
          _whole(*LIVE_FLOWS, 'cold', 'stopped', *flows_module.STORED),
          'scenario', 'debug_log'),
)

#: cost half a minute each, and are left out of a sample
SLOW = frozenset(('libvirtd-hangs', 'eight-guests', 'power',
                  'guest-undefined', 'guest-deleted', 'guest-migrated',
                  'osd-hangs', 'a-byte-a-second'))

#: for a run that nothing happens to
NOTHING = Fault('nothing', Group.PROCESS, lambda call: (), '')

ALL = (PROCESS + LIBVIRT + GUEST + DISK + SERVICE + CEPH + LOAD
       + HOSTILE)
BY_NAME = {fault.name: fault for fault in ALL}
