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

"""A real Ceph, as small as it gets: one monitor, one manager, one OSD.

It is there to hold the volumes, root disks and images of one run of tests:
each start makes it anew. The OSD's disk is a sparse file. All keys are made
before the monitor is, which takes them in when its store is made: to tell a
running one takes a second for each.
"""

import collections.abc as cabc
import contextlib
import pathlib
import shutil
import signal
import uuid

from nova_snap import units
from tests.lab import errors
from tests.lab import place
from tests.lab import ports as ports_module
from tests.lab import process

# The pool of Cinder's volumes, and the user that Cinder, Nova and QEMU are.
POOL = 'volumes'
CLIENT = 'cinder'
# Those of Nova's root disks and of Glance's images, and Glance's user.
DISKS = 'vms'
IMAGES = 'images'
POOLS = (POOL, DISKS, IMAGES)
GLANCE = 'glance'
# A user that may read Glance's images and not write any.
READER = 'reader'

# A key that is none of the cluster's.
WRONG_KEY = 'AQBbAAAAAAAAABAAf5cUm3Q7wqTpV0FxkQ2fUg=='

# How full the OSD may be, in the order in which the monitors warn of it, and
# a part of its disk that it has always written.
RATIOS = {'nearfull': '0.95', 'backfillfull': '0.96', 'full': '0.97'}
ANY_RATIO = '0.0001'
# Seconds until the monitors know that it is full, or not any more. It looks
# every six.
FULL_TIMEOUT = 60

# Bytes that the OSD believes to have; it takes what is written.
DISK_SIZE = 20 * units.GiB
# Few, for one OSD; each costs memory.
PLACEMENT_GROUPS = 8

# Seconds.
START_TIMEOUT = 120
COMMAND_TIMEOUT = 60
# For an image whose client was killed: Ceph waits for 30.
WATCH_TIMEOUT = 60

# What each daemon and each client may do.
CAPABILITIES = {
    'mon.': {'mon': 'allow *'},
    'client.admin': {'mon': 'allow *', 'osd': 'allow *', 'mgr': 'allow *'},
    'mgr.lab': {'mon': 'allow profile mgr', 'osd': 'allow *'},
    'osd.0': {'mon': 'allow profile osd', 'mgr': 'allow profile osd',
              'osd': 'allow *'},
    f'client.{CLIENT}': {'mon': 'profile rbd', **dict.fromkeys(
        ('osd', 'mgr'),
        ', '.join(f'profile rbd pool={pool}' for pool in POOLS))},
    f'client.{GLANCE}': {'mon': 'profile rbd',
                         'osd': f'profile rbd pool={IMAGES}'},
    f'client.{READER}': {'mon': 'profile rbd',
                         'osd': f'profile rbd pool={DISKS}, '
                                f'profile rbd-read-only pool={IMAGES}'},
}

# Modules of the manager that it would load and no test asks. Those that
# are always on cannot be named.
NO_MODULES = (
    'alerts cephadm dashboard diskprediction_local influx insights iostat'
    ' k8sevents localpool mds_autoscaler mirroring nfs osd_perf_query'
    ' osd_support prometheus restful rook selftest snap_schedule stats'
    ' telegraf test_orchestrator zabbix')

CONFIG = """\
[global]
fsid = {fsid}
mon host = {address}
keyring = {folder}/keyring
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
run dir = {folder}
crash dir = {folder}
# A socket's path has 107 bytes at most, and no client asks there.
admin socket =
ms bind ipv6 = false
auth allow insecure global id reclaim = false
# One copy of everything, on the one OSD.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
# There is no other to agree with: do not gather proposals for a second each.
paxos propose interval = 0.05
paxos min wait = 0.02
mon tick interval = 1
# The machine's disk may be fuller than a storage's should be.
mon data avail warn = 3
mon data avail crit = 1
[mon]
mon data = {folder}/mon
mon osd full ratio = {full}
mon osd nearfull ratio = {nearfull}
mon osd backfillfull ratio = {backfillfull}
[mgr]
mgr data = {folder}/mgr
mgr initial modules =
mgr disabled modules = {no_modules}
mgr stats period = 1
mgr tick period = 1
[osd]
osd data = {folder}/osd
osd memory target = {memory}
osd memory base = {memory_base}
osd memory cache min = {memory_cache}
osd scrub load threshold = 0.01
osd op num shards = 2
osd op num threads per shard = 2
bluestore block create = true
bluestore block size = {disk_size}
"""

# Bytes of the OSD's memory: the least it takes, and what it begins with.
OSD_MEMORY = 896 * units.MiB
OSD_MEMORY_BASE = 128 * units.MiB
OSD_MEMORY_CACHE = 64 * units.MiB


class Ceph:
    """The cluster, with all its state below ``run_dir``.

    :ivar config_file: what a client reads
    """

    def __init__(self, run_dir: pathlib.Path) -> None:
        self.folder = run_dir / 'ceph'
        self.config_file = self.folder / 'ceph.conf'
        self._ports = ports_module.kept(
            run_dir / 'ceph-ports', 'msgr2', 'legacy'
        )
        self._daemons = {name: process.Daemon(name, self.folder)
                         for name in ('mon', 'mgr', 'osd')}

    @property
    def running(self) -> bool:
        """Whether all daemons run."""
        return all(daemon.pid is not None
                   for daemon in self._daemons.values())

    def start(self) -> None:
        """Make a new cluster and start it, unless it runs.

        :raises LabError: when it does not start; a log says why
        """
        if self.running:
            return
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ('mon', 'mgr', 'osd'):
            place.make_dir(self.folder / name)
        self._configure()
        self._start('mon', 'a')
        disk = str(uuid.uuid4())
        self.command('osd', 'new', disk)
        self._start('mgr', 'lab')
        self._run('ceph-osd', '--id', '0', '--mkfs', '--osd-uuid', disk)
        self._start('osd', '0')
        for pool in POOLS:
            self.command('osd', 'pool', 'create', pool,
                         str(PLACEMENT_GROUPS))
            process.run(self.rbd_line('pool', 'init', pool, user='admin'))

    def wait_ready(self) -> None:
        """Wait until the cluster says that it is well.

        Cinder sees no space before.

        :raises LabError: when it does not in time
        """
        self._daemons['osd'].wait_ready(
            lambda: self.command('health').startswith('HEALTH_OK'),
            timeout=START_TIMEOUT)

    def stop(self) -> None:
        """End the cluster. What it held is not found again."""
        for name in ('osd', 'mgr', 'mon'):
            self._daemons[name].stop()

    def command(self, *words: str) -> str:
        """Run a command of ``ceph`` as the administrator.

        :raises LabError: when it fails
        """
        return process.run(['ceph', '--conf', str(self.config_file),
                            '--connect-timeout', str(COMMAND_TIMEOUT),
                            *words])

    def rbd_line(self, *words: str, user: str = CLIENT) -> list[str]:
        """Return a command line of ``rbd``."""
        return ['rbd', '--conf', str(self.config_file), '--id', user, *words]

    def osd_pid(self) -> int:
        """Return the process that has the data.

        :raises LabError: when it does not run
        """
        pid = self._daemons['osd'].pid
        if pid is None:
            raise errors.LabError('the OSD does not run')
        return pid

    def key(self, client: str = CLIENT) -> str:
        """Return a client's key, in base64."""
        return process.run(['ceph-authtool', str(self.folder / 'keyring'),
                            '--name', f'client.{client}',
                            '--print-key']).strip()

    def client_config(self) -> str:
        """Return a ceph.conf for clients that have their keys in /etc."""
        return f'[global]\nmon host = {self._address}\n'

    def client_keyring(self, client: str = CLIENT) -> str:
        """Return a keyring with the key of one client."""
        return f'[client.{client}]\nkey = {self.key(client)}\n'

    def stand_still(self, kind: str) -> None:
        """Let a daemon answer nothing any more: ``mon`` or ``osd``."""
        self._daemons[kind].send_signal(signal.SIGSTOP)

    def go_on(self, kind: str) -> None:
        """Let a daemon that stands still answer again."""
        self._daemons[kind].send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def full(self) -> cabc.Iterator[None]:
        """Let the OSD be full for the block: it takes no write.

        :raises LabError: when the monitors do not know it in time
        """
        self._let_fill(dict.fromkeys(RATIOS, ANY_RATIO), is_full=True)
        try:
            yield
        finally:
            self._let_fill(RATIOS, is_full=False)

    def _let_fill(self, ratios: cabc.Mapping[str, str], *,
                  is_full: bool) -> None:
        for name, ratio in ratios.items():
            self.command('osd', f'set-{name}-ratio', ratio)
        process.wait_until(
            lambda: (' full osd' in self.command('health')) == is_full,
            timeout=FULL_TIMEOUT, what=f'an OSD that is full: {is_full}')

    @contextlib.contextmanager
    def without_cap(self, pool: str) -> cabc.Iterator[None]:
        """Let the client only read in a pool for the block."""
        self._let(f'profile rbd-read-only pool={pool}' if one == pool
                  else f'profile rbd pool={one}' for one in POOLS)
        try:
            yield
        finally:
            self._let(f'profile rbd pool={one}' for one in POOLS)

    def _let(self, what: cabc.Iterable[str]) -> None:
        self.command('auth', 'caps', f'client.{CLIENT}', 'mon',
                     'profile rbd', 'osd', ', '.join(what), 'mgr',
                     f'profile rbd pool={POOL}')

    def images(self, pool: str = POOL) -> list[str]:
        """List the images in a pool, by name."""
        return process.run(self.rbd_line('ls', pool)).split()

    def snapshots(self, image: str, pool: str = POOL) -> list[str]:
        """List the snapshots of an image, by name, with those in the trash."""
        listed = process.run(self.rbd_line(
            'snap', 'ls', '--all', f'{pool}/{image}'))
        return [line.split()[1] for line in listed.splitlines()[1:]]

    def is_child(self, image: str, pool: str = IMAGES) -> bool:
        """Tell whether an image is a clone that is not flattened."""
        return 'parent: ' in process.run(self.rbd_line(
            'info', f'{pool}/{image}'))

    @property
    def _address(self) -> str:
        """Return where the monitor answers, in both protocols."""
        return (f'[v2:127.0.0.1:{self._ports["msgr2"]}/0,'
                f'v1:127.0.0.1:{self._ports["legacy"]}/0]')

    @property
    def monitor(self) -> tuple[str, str]:
        """Return host and port of the monitor, as QEMU knows them."""
        return '127.0.0.1', str(self._ports['legacy'])

    def load(self, path: pathlib.Path, image: str, pool: str = DISKS) -> None:
        """Make an image of a raw file, leaving out its zeros."""
        process.run(self.rbd_line('import', '--no-progress', '--dest-pool',
                                  pool, str(path), image))

    def remove(self, image: str, pool: str = DISKS) -> None:
        """Remove an image with all its snapshots; one that is absent is fine.

        A QEMU that was killed has it open for half a minute.

        :raises LabError: when a snapshot has children
        """
        if image not in self.images(pool):
            return
        name = f'{pool}/{image}'
        process.run(self.rbd_line('snap', 'purge', '--no-progress', name))

        def is_gone() -> bool:
            try:
                process.run(self.rbd_line('rm', '--no-progress', name))
            except errors.LabError:
                return False
            return True

        process.wait_until(is_gone, timeout=WATCH_TIMEOUT,
                           what=f'the end of {name}')

    def let_clone(self, version: int) -> None:
        """Have clones be made of the first version or of the second."""
        self.command('config', 'set', 'client', 'rbd_default_clone_format',
                     str(version))

    def rename(self, image: str, name: str) -> None:
        """Give an image another name; who has it open goes on with it."""
        process.run(self.rbd_line('rename', f'{POOL}/{image}',
                                  f'{POOL}/{name}'))

    def export(self, image: str, path: pathlib.Path,
               pool: str = POOL) -> None:
        """Write the content of an image, or a snapshot, into a file."""
        process.run(self.rbd_line('export', '--no-progress',
                                  f'{pool}/{image}', str(path)))

    def _configure(self) -> None:
        fsid = str(uuid.uuid4())
        self.config_file.write_text(CONFIG.format(
            fsid=fsid, address=self._address, folder=self.folder,
            no_modules=NO_MODULES, memory=OSD_MEMORY,
            memory_base=OSD_MEMORY_BASE, memory_cache=OSD_MEMORY_CACHE,
            disk_size=DISK_SIZE, **RATIOS))
        keyring = self.folder / 'keyring'
        process.run(['ceph-authtool', '--create-keyring', str(keyring)])
        for name, capabilities in CAPABILITIES.items():
            process.run(['ceph-authtool', str(keyring), '--gen-key',
                         '--name', name,
                         *(word for service, what in capabilities.items()
                           for word in ('--cap', service, what))])
        map_file = self.folder / 'monmap'
        process.run(['monmaptool', '--create', '--fsid', fsid, '--addv', 'a',
                     self._address, str(map_file)])
        self._run('ceph-mon', '--id', 'a', '--mkfs', '--monmap',
                  str(map_file), '--keyring', str(keyring))

    def _run(self, *words: str) -> None:
        process.run([*words, '--conf', str(self.config_file)])

    def _start(self, kind: str, name: str) -> None:
        self._daemons[kind].start([
            f'ceph-{kind}', '--id', name, '--foreground', '--conf',
            str(self.config_file)])
