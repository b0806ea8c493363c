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

It is there to hold the volumes of one run of tests: each start makes it
anew. The OSD's disk is a sparse file. All keys are made before the monitor
is, which takes them in when its store is made: to tell a running one takes a
second for each.
"""

import pathlib
import shutil
import uuid

from nova_snap import units
from tests.lab import place
from tests.lab import ports as ports_module
from tests.lab import process

# The pool of Cinder's volumes, and the user that Cinder and QEMU are.
POOL = 'volumes'
CLIENT = 'cinder'

# Bytes that the OSD believes to have; it takes what is written.
DISK_SIZE = 20 * units.GiB
# Few, for one OSD; each costs memory.
PLACEMENT_GROUPS = 8

# Seconds.
START_TIMEOUT = 120
COMMAND_TIMEOUT = 60

# What each daemon and each client may do.
CAPABILITIES = {
    'mon.': {'mon': 'allow *'},
    'client.admin': {'mon': 'allow *', 'osd': 'allow *', 'mgr': 'allow *'},
    'mgr.lab': {'mon': 'allow profile mgr', 'osd': 'allow *'},
    'osd.0': {'mon': 'allow profile osd', 'mgr': 'allow profile osd',
              'osd': 'allow *'},
    f'client.{CLIENT}': {'mon': 'profile rbd',
                         'osd': f'profile rbd pool={POOL}',
                         'mgr': f'profile rbd pool={POOL}'},
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
mon osd full ratio = 0.97
mon osd nearfull ratio = 0.95
mon osd backfillfull ratio = 0.96
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
        self.command('osd', 'pool', 'create', POOL, str(PLACEMENT_GROUPS))
        process.run(self.rbd_line('pool', 'init', POOL, user='admin'))

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

    def key(self, client: str = CLIENT) -> str:
        """Return a client's key, in base64."""
        return process.run(['ceph-authtool', str(self.folder / 'keyring'),
                            '--name', f'client.{client}',
                            '--print-key']).strip()

    def images(self) -> list[str]:
        """List the images in the pool, by name."""
        return process.run(self.rbd_line('ls', POOL)).split()

    def snapshots(self, image: str) -> list[str]:
        """List the snapshots of an image, by name."""
        listed = process.run(self.rbd_line('snap', 'ls', f'{POOL}/{image}'))
        return [line.split()[1] for line in listed.splitlines()[1:]]

    def rename(self, image: str, name: str) -> None:
        """Give an image another name; who has it open goes on with it."""
        process.run(self.rbd_line('rename', f'{POOL}/{image}',
                                  f'{POOL}/{name}'))

    def export(self, image: str, path: pathlib.Path) -> None:
        """Write the content of an image, or a snapshot, into a file."""
        process.run(self.rbd_line('export', '--no-progress',
                                  f'{POOL}/{image}', str(path)))

    def _configure(self) -> None:
        fsid = str(uuid.uuid4())
        address = (f'[v2:127.0.0.1:{self._ports["msgr2"]}/0,'
                   f'v1:127.0.0.1:{self._ports["legacy"]}/0]')
        self.config_file.write_text(CONFIG.format(
            fsid=fsid, address=address, folder=self.folder,
            no_modules=NO_MODULES, memory=OSD_MEMORY,
            memory_base=OSD_MEMORY_BASE, memory_cache=OSD_MEMORY_CACHE,
            disk_size=DISK_SIZE))
        keyring = self.folder / 'keyring'
        process.run(['ceph-authtool', '--create-keyring', str(keyring)])
        for name, capabilities in CAPABILITIES.items():
            process.run(['ceph-authtool', str(keyring), '--gen-key',
                         '--name', name,
                         *(word for service, what in capabilities.items()
                           for word in ('--cap', service, what))])
        map_file = self.folder / 'monmap'
        process.run(['monmaptool', '--create', '--fsid', fsid, '--addv', 'a',
                     address, str(map_file)])
        self._run('ceph-mon', '--id', 'a', '--mkfs', '--monmap',
                  str(map_file), '--keyring', str(keyring))

    def _run(self, *words: str) -> None:
        process.run([*words, '--conf', str(self.config_file)])

    def _start(self, kind: str, name: str) -> None:
        self._daemons[kind].start([
            f'ceph-{kind}', '--id', name, '--foreground', '--conf',
            str(self.config_file)])
