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

"""The driver's own world: Nova's connection, Nova's privileges, its CONF."""

import collections.abc as cabc
import contextlib
import os
import threading
import types
import typing as ty

from nova.compute import utils as compute_utils
from nova import exception
import nova.privsep.path
from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap.driver import devices
from nova_snap.driver import instances as instances_module
from nova_snap.driver import natively
from nova_snap import errors
from nova_snap.host import file_systems
from nova_snap.host import files as files_module
from nova_snap.host import locks as locks_module
from nova_snap.host import qemu_nbd as qemu_nbd_module
from nova_snap.host import rbd as rbd_module
from nova_snap.host import systemd
from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import domain as domain_module
from nova_snap.hypervisor import host as host_module
from nova_snap.journal import checkpoints as checkpoints_module
from nova_snap.journal import store as store_module
from nova_snap.model import observer as observer_module
from nova_snap.model import settings as settings_model
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.services.glance import images as images_module
from nova_snap.services import signed_out
from nova_snap.steps import export as export_module
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

# Between two looks whether the snapshots have ended.
FIRST_STOP_LOOK_SECONDS = 0.05
LONGEST_STOP_LOOK_SECONDS = 0.5

# Takes the UUID of an instance whose guest is about to be started.
PowerUp = cabc.Callable[[str], None]


class Work:
    """The snapshots under way, and the word that they shall end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clock = clock_module.Clock()
        self._under_way = 0
        self._stopping = False
        #: how long the end of the snapshots is waited for
        self.stop_seconds: float = systemd.STOP_SECONDS

    def __enter__(self) -> 'Work':
        with self._lock:
            self.check()
            self._under_way += 1
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 exc: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        with self._lock:
            self._under_way -= 1

    def check(self) -> None:
        """Go on, or not.

        :raises Cancelled: when the service stops
        """
        if self._stopping:
            raise errors.Cancelled(reason='nova-compute stops')

    def stop(self) -> None:
        """End every snapshot at its next step, and wait a while for that.

        It looks, and is not woken: of eventlet's threads none can wake one
        that waits in another real thread.
        """
        with self._lock:
            self._stopping = True
        for _ in self._clock.looks(self.stop_seconds,
                                   first_pause=FIRST_STOP_LOOK_SECONDS,
                                   longest_pause=LONGEST_STOP_LOOK_SECONDS):
            if not self._under_way:
                return
        LOG.error('%d snapshots have not ended: what they leave is settled '
                  'at the next start', self._under_way)


class NovaDomain(domain_module.Domain):
    """A domain whose guest is started as Nova starts it."""

    def __init__(self, connection: connection_module.Connection, uuid: str,
                 power_up: PowerUp) -> None:
        super().__init__(connection, uuid)
        self._power_up = power_up

    def start(self, *, paused: bool) -> None:
        """Power its dedicated CPUs up, then start it.

        :source: nova/virt/libvirt/driver.py _resume_guest_after_snapshot
        """
        self._power_up(self.uuid)
        super().start(paused=paused)


class NovaConnection(connection_module.Connection):
    """Nova's connection, which Nova opens again when it breaks."""

    def __init__(self, uri: str, host: ty.Any) -> None:
        super().__init__(uri, lambda _: _connected(uri, host))
        self.qemu = _Qemu(self.qemu)

    def get(self) -> ty.Any:
        """Return Nova's connection.

        :raises HypervisorError: when Nova has none within a minute
        :source: nova/virt/libvirt/host.py _get_connection
        """
        try:
            return self._connect(self.uri)
        except errors.HypervisorError:
            return self._open_again()


class NovaHost(host_module.Host):
    """The libvirt that Nova is connected to."""

    def __init__(self, connection: NovaConnection, power_up: PowerUp,
                 work: Work) -> None:
        super().__init__(connection,
                         lambda: _Poll(connection.clock, work))
        self._power_up = power_up

    def domain(self, uuid: str) -> domain_module.Domain:
        return NovaDomain(self.connection, uuid, self._power_up)


class _Poll(clock_module.Bell):
    """A bell that does not ring: what is waited for is looked at again.

    Nova's thread for libvirt's events is a real one also where all others
    are eventlet's: it could not wake them.

    :source: nova/virt/libvirt/host.py _native_thread
    """

    def __init__(self, clock: clock_module.Clock, work: Work) -> None:
        super().__init__()
        self._clock = clock
        self._work = work

    def ring(self) -> None:
        """Do nothing, in a thread that may do nothing."""

    def wait(self, seconds: float) -> None:
        self._clock.sleep(seconds)
        self._work.check()


class _Qemu:
    """The module that passes QEMU's events on, for Nova's connection.

    Nova's connection may be a proxy of eventlet's. libvirt's binding takes
    none for a connection when it calls back, and does not call back then.
    """

    def __init__(self, module: ty.Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> cabc.Callable[..., ty.Any]:
        def call(connection: ty.Any, *args: ty.Any) -> ty.Any:
            return natively.call(getattr(self._module, name),
                                 natively.unwrap(connection), *args)

        return call


def _connected(uri: str, host: ty.Any) -> ty.Any:
    try:
        return host.get_connection()
    except exception.HypervisorUnavailable as exc:
        raise errors.HypervisorError(
            instance=uri, call='open', reason=f'{exc}. Does libvirtd run?'
        ) from exc


class NovaFiles(files_module.Files):
    """The files of a process that is not root."""

    opens_devices = False

    def _give(self, path: str, uid: int) -> None:
        """Let a file belong to a user, in a directory of ours.

        :source: nova/virt/libvirt/driver.py _live_snapshot
        """
        nova.privsep.path.chown(path, uid=uid)

    def make_lent(self, path: str, uid: int | None) -> None:
        """Make a directory for QEMU, below one of ours.

        No other user can put another one in its place.
        """
        super().make_lent(path, None)
        if uid is not None:
            nova.privsep.path.chown(path, uid=uid)

    def take_back(self, path: str) -> None:
        """Become the owner of a directory that QEMU's user had."""
        if os.path.lexists(path):
            nova.privsep.path.chown(path, uid=os.geteuid())

    def remove(self, path: str) -> None:
        natively.call(super().remove, path)

    def remove_scratch(self, path: str) -> None:
        natively.call(super().remove_scratch, path)


class Runtime:
    """What the driver works with, for as long as nova-compute runs.

    :ivar work: to be entered by each snapshot
    :ivar store: the records of this host
    """

    def __init__(self, settings: settings_model.Settings, host: ty.Any,
                 power_up: PowerUp) -> None:
        """Remember all this; nothing is asked of anybody yet.

        :param host: Nova's, which has the connection to libvirt
        """
        self.settings = settings
        self.work = Work()
        self.store = natively.wrap(store_module.Store(settings.journal_dir))
        self._host = NovaHost(NovaConnection(settings.connection_uri, host),
                              power_up, self.work)

    def check(self) -> None:
        """Look at the journal's place, and how long a stop may take.

        :raises JournalError: when the journal cannot be kept there
        """
        file_systems.check_local(self.settings.journal_dir)
        self.store.prepare()
        limit = systemd.stop_limit()
        if limit is not None:
            self.work.stop_seconds = max(
                0.0, min(systemd.STOP_SECONDS, limit - systemd.OTHERS_SECONDS))

    def domain(self, uuid: str) -> domain_module.Domain:
        """Return the domain of this UUID, which may be gone."""
        return self._host.domain(uuid)

    def libvirt_version(self) -> connection_module.Version:
        """Return libvirt's version.

        :raises HypervisorError: when libvirt does not answer
        """
        return self._host.version()

    def local_node(self) -> world_module.Node:
        """Put the node together for what needs no Glance."""
        return self.node(signed_out.SignedOut(_no_user()))

    def node(self, images: images_module.Images,
             observer: observer_module.Observer | None = None, *,
             volumes: volumes_module.Volumes | None = None,
             ) -> world_module.Node:
        """Put the node together for one operation.

        :param volumes: for a recovery alone: Nova's API snapshots volumes
        """
        settings = self.settings
        return world_module.Node(
            world=world_module.World(
                settings=settings, host=self._host,
                qemu_img=devices.NovaQemuImg(
                    settings.images_cpu_time_limit,
                    settings.images_address_space_limit),
                exports=export_module.Exports(qemu_nbd_module.QemuNbd()),
                files=NovaFiles(), images=images,
                volumes=volumes or signed_out.SignedOutOfCinder(_no_user()),
                clock=clock_module.Clock(),
                ceph=lambda client: natively.wrap(rbd_module.Ceph(
                    client.conf, client.user,
                    connect_timeout=settings.rbd_connect_timeout)),
                checkpoints=natively.wrap(checkpoints_module.Checkpoints(
                    settings.journal_dir)),
                disk_turn=_disk_turn,
                disk_work=natively.call,
                observer=observer or observer_module.Observer()),
            store=self.store,
            locks=locks_module.Locks(settings.journal_dir,
                                     timeout=settings.lock_timeout),
            boot_id=files_module.boot_id(),
            # Nova itself asks for this: no operator has to be warned of it.
            nova_compute_runs=lambda: False,
            why_away=instances_module.why_away)


def _disk_turn() -> contextlib.AbstractContextManager[ty.Any]:
    """Return what counts the operations on whole images; Nova's own do too.

    Asked for each time: nova-compute puts another one there when it starts.

    :source: [compute]max_concurrent_disk_ops; nova/virt/images.py
        convert_image, nova/virt/libvirt/driver.py snapshot
    """
    return ty.cast(contextlib.AbstractContextManager[ty.Any],
                   compute_utils.disk_ops_semaphore)


def _no_user() -> errors.ConfigError:
    return errors.ConfigError(option='[service_user]',
                              reason='no image and no volume is touched here')
