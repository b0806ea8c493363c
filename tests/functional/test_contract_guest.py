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

"""The contract of a guest, on a real libvirt and QEMU."""

import collections.abc as cabc
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import typing as ty

import libvirt

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import host as host_module
from nova_snap.model import layer as layer_model
from nova_snap import units
from tests.contract.guest import backup
from tests.contract.guest import contract
from tests.contract.guest import definition
from tests.contract.guest import life
from tests.contract.guest import mirror
from tests.functional import base
from tests.lab.guest import domain as guest_domain
from tests.lab import hypervisor
from tests.lab import process

# libvirt keeps this password in the definition and out of the plain XML.
GRAPHICS = (f"<graphics type='vnc' port='-1' autoport='yes' "
            f"passwd='{contract.PASSWORD}'/>")
# In name only: no disk is touched.
SNAPSHOT = ("<domainsnapshot><name>before</name><state>shutoff</state>"
            "<creationTime>1</creationTime><memory snapshot='no'/>"
            "<disks><disk name='vda' snapshot='internal'/></disks>{xml}"
            '</domainsnapshot>')
CHECKPOINT = ("<domaincheckpoint><name>monday</name>"
              "<creationTime>1</creationTime><disks><disk name='vda' "
              "checkpoint='bitmap' bitmap='monday'/></disks>{xml}"
              '</domaincheckpoint>')

# Bytes: less than what the guest has written to its disk.
FULL = units.MiB

# Bytes: more than a delta of that takes.
OWN = units.GiB
# Bytes that a guest writes, and seconds for it to boot and write them.
LAG = 64 * units.KiB
LAG_TIMEOUT = 120

# Seconds until a save has begun.
SAVE_TIMEOUT = 30


class RealStorage:
    """An ext4 with an overlay on it."""

    def __init__(self, delta: str, own: hypervisor.FileSystem) -> None:
        self.delta = delta
        self._own = own

    def hang(self, hangs: bool) -> None:
        self._own.hang(hangs)

    def break_down(self) -> None:
        self._own.break_down()
        # What waits fails now.
        self._own.hang(False)


class RealSide:
    """A guest of the lab."""

    def __init__(self, guest: guest_domain.Guest,
                 qemu_img: qemu_img_module.QemuImg) -> None:
        self.guest = guest
        self.uuid = guest.spec.uuid
        self.host = self._make_host()
        self.clock = clock_module.Clock()
        self._qemu_img = qemu_img
        self._made: list[pathlib.Path] = []

    def _make_host(self) -> host_module.Host:
        return host_module.Host(connection_module.Connection(
            self.guest.libvirtd.uri))

    def theirs(self) -> libvirt.virDomain:
        return self.guest.domain

    def agent_timeout(self) -> int:
        return self.guest.agent_timeout()

    def make_delta(self) -> str:
        return self._overlay(self.guest.folder)

    def make_scratch(self, size: int) -> str:
        path = self._name(self.guest.folder)
        self._qemu_img.create_overlay(str(path), size, None)
        return str(path)

    def socket(self) -> str:
        folder = self.guest.folder / 'lent'
        if not folder.exists():
            folder.mkdir()
            shutil.chown(folder, base.QEMU_USER)
        return str(folder / 'nbd')

    def make_raw_file(self) -> str:
        path = self._name(self.guest.folder)
        with path.open('wb') as file:
            file.truncate(self._size())
        return str(path)

    @contextlib.contextmanager
    def full_delta(self) -> cabc.Iterator[str]:
        with self.guest.libvirtd.small_file_system('full', FULL) as folder:
            yield self._overlay(folder)

    @contextlib.contextmanager
    def storage(self) -> cabc.Iterator['RealStorage']:
        with self.guest.libvirtd.own_file_system('own', OWN) as found:
            yield RealStorage(self._overlay(found.path), found)

    def wait_for_lag(self) -> None:
        process.wait_until(self._lags, timeout=LAG_TIMEOUT,
                           what='a mirror that lags behind')

    def _lags(self) -> bool:
        job = self.theirs().blockJobInfo(contract.DISK)
        return bool(job['end'] - job['cur'] >= LAG)

    def is_copy(self, delta: str) -> bool:
        # 1 is "they differ", 2 and more an error.
        compared = subprocess.run(
            ['qemu-img', 'compare', '-f', 'qcow2', '-F', 'qcow2', delta,
             str(self.guest.spec.disk.path)], capture_output=True)
        assert compared.returncode in (0, 1), compared
        return compared.returncode == 0

    def add_metadata(self) -> None:
        xml = self.host.domain(self.uuid).definition_xml()
        self.theirs().snapshotCreateXML(
            SNAPSHOT.format(xml=xml),
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)
        self.theirs().checkpointCreateXML(
            CHECKPOINT.format(xml=xml),
            libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE)

    @contextlib.contextmanager
    def saving(self) -> cabc.Iterator[None]:
        thread, ended = self._begin_save()
        writer = self._stop_writer(thread)
        try:
            process.wait_until(
                lambda: self.host.domain(self.uuid).job() == 'save',
                timeout=SAVE_TIMEOUT, what='a save')
            yield
        finally:
            os.kill(writer, signal.SIGCONT)
            thread.join()
        assert [error.code for error in ended] == [
            libvirt.VIR_ERR_OPERATION_ABORTED], ended

    def _begin_save(self) -> tuple[threading.Thread,
                                   list[errors.HypervisorError]]:
        domain = self._make_host().domain(self.uuid)
        ended: list[errors.HypervisorError] = []

        def save() -> None:
            try:
                domain.managed_save()
            except errors.HypervisorError as exc:
                ended.append(exc)

        thread = threading.Thread(target=save)
        thread.start()
        return thread, ended

    def _stop_writer(self, saving: threading.Thread) -> int:
        """Stop the process that writes the memory down, and return its id.

        Without it a guest this small may be saved before it is looked at.

        :source: libvirt src/util/virfile.c virFileWrapperFdNew
        """
        file = f'/{self.guest.spec.name}.save '
        while saving.is_alive():
            for pid, line in process.command_lines().items():
                if 'libvirt_iohelper ' in line and file in line:
                    os.kill(pid, signal.SIGSTOP)
                    return pid
        raise AssertionError('the guest was saved too quickly')

    def restart_libvirtd(self) -> None:
        self.guest.libvirtd.restart()

    def put_back(self, xml: str, *, booted: bool) -> None:
        """Make the guest again what it was, whatever a test did to it.

        :param booted: wait until its programs run as well
        """
        with self.guest.libvirtd.connection() as connection:
            domain = connection.defineXML(xml)
        domain = self.theirs()
        domain.setAutostart(0)
        if domain.isActive():
            with contextlib.suppress(libvirt.libvirtError):
                domain.blockJobAbort(contract.DISK)
            with contextlib.suppress(libvirt.libvirtError):
                domain.abortJob()
            with contextlib.suppress(libvirt.libvirtError):
                domain.resume()
        for checkpoint in domain.listAllCheckpoints():
            checkpoint.delete(
                libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
        for snapshot in domain.listAllSnapshots():
            snapshot.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)
        if domain.isActive():
            self._let_the_agent_go(domain)
        else:
            since = len(self.guest.console())
            domain.create()
            if booted:
                self.guest.wait_for(r'^REC \d+', since=since)
        for path in self._made:
            path.unlink(missing_ok=True)

    def _let_the_agent_go(self, domain: libvirt.virDomain) -> None:
        domain.agentSetResponseTimeout(contract.AGENT_SECONDS)
        with contextlib.suppress(libvirt.libvirtError):
            domain.fsThaw()
        domain.agentSetResponseTimeout(
            libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK)

    def _overlay(self, folder: pathlib.Path) -> str:
        path = self._name(folder)
        ((base, base_format),) = self.guest.spec.disk.backing
        self._qemu_img.create_overlay(
            str(path), self._size(),
            layer_model.Layer(str(base), base_format))
        return str(path)

    def _name(self, folder: pathlib.Path) -> pathlib.Path:
        path = folder / f'delta-{len(self._made)}'
        self._made.append(path)
        return path

    def _size(self) -> int:
        return self.host.domain(self.uuid).block_sizes(contract.DISK)[0]


class RealTestCase(base.FunctionalTest):
    """A test on a guest that the tests of a class share."""

    agent: ty.ClassVar[str | None] = None
    # Whether a test needs more than the QEMU process: to boot takes seconds.
    booted = True

    def setUp(self) -> None:
        super().setUp()
        guest = self._guest_of_class()
        settings = self.node().world.settings
        self.side = RealSide(guest, qemu_img_module.QemuImg(
            settings.images_cpu_time_limit,
            settings.images_address_space_limit))
        xml = self.side.host.domain(guest.spec.uuid).definition_xml()
        self.addCleanup(self.side.put_back, xml, booted=self.booted)

    def _guest_of_class(self) -> guest_domain.Guest:
        guest = self._shared.get(type(self))
        if guest is None:
            guest = guest_domain.Guest.create(
                self.lab.libvirtd, 'qcow2-on-raw-base', agent=self.agent,
                extra_devices=GRAPHICS)
            self.addClassCleanup(guest.remove)
            self._shared[type(self)] = guest.boot()
        return guest


class RealDefinitionTest(definition.DefinitionContract, RealTestCase):
    booted = False


class RealMirrorTest(mirror.MirrorContract, RealTestCase):
    booted = False


class RealBackupTest(backup.BackupContract, RealTestCase):
    booted = False


class RealMemoryTest(life.MemoryContract, RealTestCase):
    pass


class RealAgentTest(life.AgentContract, RealTestCase):
    agent = 'run'


class RealNoChannelTest(life.NoAgentContract, RealTestCase):
    pass


class RealDisconnectedAgentTest(life.NoAgentContract, RealTestCase):
    agent = 'absent'
    said = 'disconnected'


class RealHungAgentTest(life.HungAgentContract, RealTestCase):
    agent = 'hung'


class RealRefusingAgentTest(life.RefusingAgentContract, RealTestCase):
    agent = 'refuses'
