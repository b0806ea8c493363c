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

"""The contract of a guest, on the fake libvirt."""

import collections.abc as cabc
import contextlib
import typing as ty

from tests.contract.guest import backup
from tests.contract.guest import definition
from tests.contract.guest import life
from tests.contract.guest import mirror
from tests.fakes import agent as fake_agent
from tests.fakes import disk as fake_disk
from tests.fakes import domain as fake_domain
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

Channel = fake_agent.Channel

SNAPSHOT = '<domainsnapshot><name>before</name></domainsnapshot>'
CHECKPOINT = '<domaincheckpoint><name>monday</name></domaincheckpoint>'


class FakeStorage:
    """What the mirrors of a guest are written to."""

    def __init__(self, delta: str, guest: fake_domain.FakeDomain) -> None:
        self.delta = delta
        self._guest = guest

    def hang(self, hangs: bool) -> None:
        for one in self._guest.mirrors.values():
            one.life.ends_after = None if hangs else 1

    def break_down(self) -> None:
        self.hang(False)
        for one in self._guest.mirrors.values():
            one.life.fails_at_end = 'Input/output error'


class FakeSide:
    """The guest of a fake node."""

    def __init__(self, fake: fake_node.FakeNode) -> None:
        self._fake = fake
        self.uuid = fake_node.UUID
        self.clock = fake.clock
        self._process = fake.process()
        self.host = self._process.world.host
        self._made = 0

    def theirs(self) -> fake_domain.FakeDomain:
        return self._fake.libvirtd.domains[self.uuid]

    def agent_timeout(self) -> int:
        return self.theirs().agent.timeout

    def make_delta(self) -> str:
        return self._make(fake_disk.DiskFile(
            'qcow2', fake_node.DISK_BYTES, backing=self._fake.disks[1],
            backing_format='raw'))

    def make_scratch(self, size: int) -> str:
        return self._make(fake_disk.DiskFile('qcow2', size))

    def socket(self) -> str:
        return str(self._fake.folder / 'nbd')

    def make_raw_file(self) -> str:
        return self._make(fake_disk.DiskFile('raw', fake_node.DISK_BYTES))

    @contextlib.contextmanager
    def full_delta(self) -> cabc.Iterator[str]:
        self.theirs().mirror_life.lost_after = 5
        yield self.make_delta()

    @contextlib.contextmanager
    def storage(self) -> cabc.Iterator['FakeStorage']:
        yield FakeStorage(self.make_delta(), self.theirs())

    def wait_for_lag(self) -> None:
        """Do nothing: a mirror of a guest that writes always has some."""

    def is_copy(self, delta: str) -> bool:
        return fake_disk.content(delta, 'qcow2') == self.theirs().content()

    def add_metadata(self) -> None:
        self.theirs().snapshots.append(fake_domain.Metadata(SNAPSHOT))
        self.theirs().checkpoints.append(fake_domain.Metadata(CHECKPOINT))

    @contextlib.contextmanager
    def saving(self) -> cabc.Iterator[None]:
        self.theirs().begin_save()
        yield

    def restart_libvirtd(self) -> None:
        self._fake.libvirtd.restart()

    def _make(self, file: fake_disk.DiskFile) -> str:
        self._made += 1
        path = str(self._fake.folder / f'delta-{self._made}')
        file.save(path)
        return path


class FakeTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(agent=Channel.ABSENT)

    def setUp(self) -> None:
        self.side: ty.Any = None
        super().setUp()
        self.fake.guest.create()
        self.side = FakeSide(self.fake)


class FakeDefinitionTest(definition.DefinitionContract, FakeTestCase):
    pass


class FakeMirrorTest(mirror.MirrorContract, FakeTestCase):
    pass


class FakeBackupTest(backup.BackupContract, FakeTestCase):
    pass


class FakeMemoryTest(life.MemoryContract, FakeTestCase):
    pass


class FakeAgentTest(life.AgentContract, FakeTestCase):
    spec = fake_node.GuestSpec()


class FakeNoChannelTest(life.NoAgentContract, FakeTestCase):
    pass


class FakeDisconnectedAgentTest(life.NoAgentContract, FakeTestCase):
    spec = fake_node.GuestSpec(agent=Channel.DISCONNECTED)
    said = 'disconnected'


class FakeHungAgentTest(life.HungAgentContract, FakeTestCase):
    spec = fake_node.GuestSpec()

    def setUp(self):
        super().setUp()
        self.fake.guest.agent.hung = True


class FakeRefusingAgentTest(life.RefusingAgentContract, FakeTestCase):
    spec = fake_node.GuestSpec()

    def setUp(self):
        super().setUp()
        self.fake.guest.agent.refuses.add('fsFreeze')
