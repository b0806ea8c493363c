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

"""The command as an operator runs it, on a node that is a fake."""

import contextlib
import dataclasses
import io
import json
import logging
import pathlib
import signal
import typing as ty

import fixtures
from oslotest import base

from nova_snap.cmd import main as main_module
from nova_snap.cmd import runtime as runtime_module
from nova_snap.host import processes
from nova_snap.journal import record as record_model
from nova_snap.model import layer as layer_model
from nova_snap.steps import undefine as undefine_step
from tests.fakes import node as fake_node

RealRuntime = runtime_module.Runtime

MEMORY = pathlib.Path('/dev/shm')

Phase = record_model.Phase
Role = record_model.Role


class Said(ty.NamedTuple):
    """What a command left on the screen.

    :ivar code: what it ended with
    """

    code: int
    out: str
    err: str

    def json(self):
        """Read its output as a program does."""
        return json.loads(self.out)


class CommandTestCase(base.BaseTestCase):
    """A node with one guest that runs.

    :ivar fake: the node
    :ivar proc: what stands for /proc: see :func:`start`
    """

    spec = fake_node.GuestSpec()

    def setUp(self):
        super().setUp()
        folder = self.useFixture(fixtures.TempDir(
            rootdir=str(MEMORY) if MEMORY.is_dir() else None)).path
        self.fake = fake_node.FakeNode(pathlib.Path(folder), self.spec)
        self.fake.guest.create()
        self.config = pathlib.Path(folder, 'nova.conf')
        self.config.write_text(f'[DEFAULT]\nstate_path = {folder}\n')
        self.useFixture(Unchanged())
        # What runs on this machine is no part of the scene.
        self.proc = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.processes.PROC', self.proc))
        see(self.proc, processes.PIDS_OF_HOST)
        self.use_node(self.fake_node)

    def use_node(self, make_node):
        """Put another node at the edge of the command.

        :param make_node: called with the observer of the command
        """
        class Runtime(RealRuntime):
            def __init__(self, conf, observer):
                super().__init__(conf, observer)
                self.observer = observer

            def node(self, *, signed_in):
                del signed_in
                return make_node(self.observer)

        self.use_runtime(Runtime)

    def use_runtime(self, kind):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.cmd.runtime.Runtime', kind))

    def fake_node(self, observer, process=None, **world):
        """Return a node, in a new process unless one is given."""
        node = (process or self.fake.process()).node
        return dataclasses.replace(node, world=dataclasses.replace(
            node.world, observer=observer, **world))

    def run_command(self, *words, out=None, err=None):
        """Run nova-snap with these words.

        :param out: its standard output, if that is no plain screen; nothing
            is read of it then
        :param err: its standard error, likewise
        """
        screen, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out or screen), \
                contextlib.redirect_stderr(err or errors):
            try:
                code = main_module.main(
                    ['--config-file', str(self.config), *words])
            except SystemExit as exc:
                code = exc.code
        return Said(code, screen.getvalue(), errors.getvalue())

    def leave(self, *entries, **changes):
        """Leave a record behind, as a process that was killed does."""
        record = record_model.Record(
            **{
                'id': '9b1c4f62-6f0e-4a35-8a53-0d6f4b1f2a77',
                'operation': 'live',
                'instance_uuid': fake_node.UUID,
                'instance_name': fake_node.NAME,
                'images': [record_model.Image('an-image', 'nightly')],
                'host': fake_node.HOST,
                'machine_id': fake_node.MACHINE_ID,
                'boot_id': fake_node.BOOT_ID,
                'started_at': '2026-11-22T23:49:09+00:00',
                'entries': list(entries),
                **changes,
            }
        )
        self.fake.process().store.write(record)
        return record

    def undefined(self, phase=Phase.DONE):
        """Return an entry with all the secrets of the guest."""
        domain = self.fake.process().world.host.domain(fake_node.UUID)
        step = undefine_step.UndefineDomain.of(
            domain, domain.qemu_id(),
            layer_model.Layer(self.fake.disks[0], 'qcow2'))
        return record_model.Entry(step.kind, Role.HOLD, phase, step.facts())


def see(proc, pids):
    """Let a folder that stands for /proc be that of a PID namespace."""
    link = proc / 'self' / 'ns' / 'pid'
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(pids)


def start(proc, pid, *words, root='/', directory='/', uid=0):
    """Let a process be seen in a folder that stands for /proc.

    :param root: its root directory
    :param uid: whose it is; None where that is not told
    """
    folder = proc / str(pid)
    folder.mkdir()
    (folder / 'cmdline').write_bytes(
        b''.join(word.encode() + b'\0' for word in words))
    (folder / 'root').symlink_to(root)
    (folder / 'cwd').symlink_to(directory)
    if uid is not None:
        (folder / 'status').write_text(
            f'Name:\tpython3\nUid:\t0\t{uid}\t0\t0\nGid:\t0\t0\t0\t0\n')


class Unchanged(fixtures.Fixture):
    """What the command changes in its process is put back."""

    def _setUp(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        for name in ('', 'urllib3'):
            logger = logging.getLogger(name)
            self.addCleanup(logger.setLevel, logger.level)
