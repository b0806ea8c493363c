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

"""A node, a guest and a request: what every flow test begins with."""

import dataclasses
import pathlib
import tempfile
import typing as ty

from oslotest import base

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.flows import snapshot
from nova_snap.model import request as request_model
from nova_snap.model import result as result_model
from tests.fakes import calls as fake_calls
from tests.fakes import disk as fake_disk
from tests.fakes import node as fake_node
from tests.flow import checks

When = fake_calls.When

IMAGE = '11111111-1111-4111-8111-111111111111'

# A file system in memory: these tests sync the journal to the disk tens of
# thousands of times.
MEMORY = pathlib.Path('/dev/shm')


class FlowTestCase(base.BaseTestCase):
    """A test on one fake node."""

    spec = fake_node.GuestSpec()

    def setUp(self) -> None:
        super().setUp()
        self.fake = self.make_node(self.spec)

    def make_node(self, spec: fake_node.GuestSpec) -> fake_node.FakeNode:
        """Make a node whose guest is off."""
        folder = tempfile.TemporaryDirectory(
            dir=MEMORY if MEMORY.is_dir() else None)
        self.addCleanup(folder.cleanup)
        return fake_node.FakeNode(pathlib.Path(folder.name), spec)

    def take(self, process: fake_node.Process | None = None,
             **asked: ty.Any) -> result_model.Result:
        """Take a snapshot, in a new process unless one is given."""
        process = process or self.fake.process()
        return snapshot.take(process.node, request(**asked))

    def die(self, call: str, when: fake_calls.When = fake_calls.When.AFTER,
            **asked: ty.Any) -> fake_node.Process:
        """Begin a snapshot, in a process that is killed at a call."""
        process = self.fake.process()
        process.calls.kill_named(call, when)
        try:
            self.take(process, **asked)
        except (fake_calls.Killed, errors.SnapError):
            pass
        self.assertTrue(process.calls.is_dead)
        return process

    def recover(self, **asked: ty.Any) -> list[recovery.Finding]:
        """Recover, in a new process."""
        return recovery.recover(self.fake.process().node, **asked)

    def outcomes(self, **asked: ty.Any) -> list[recovery.Outcome]:
        """Recover, and tell what became of each record."""
        return [finding.outcome for finding in self.recover(**asked)]

    def records(self) -> list[str]:
        """Return the ids of the records that are left."""
        return self.fake.process().store.ids()

    def image(self) -> fake_disk.DiskFile:
        """Return what the one image holds."""
        (stored,) = self.fake.glance.stored.values()
        self.assertEqual('active', stored.status)
        return fake_disk.DiskFile.from_bytes(stored.data)

    def state(self) -> checks.State:
        """Return what :meth:`assert_guest_untouched` compares with."""
        return checks.state_of(self.fake)

    def assert_guest_untouched(self, before: checks.State) -> None:
        """Assert that the guest is as it was, and nothing is left."""
        self.assertEqual([], checks.touched(self.fake, before))

    def assert_all_or_nothing(self) -> None:
        """Assert that there is one whole image, or none."""
        self.assertEqual([], checks.neither_all_nor_nothing(self.fake))

    def assert_nothing_left(self, before: checks.State) -> None:
        """Assert that nothing shows that a snapshot was tried."""
        self.assert_guest_untouched(before)
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())


def request(**asked: ty.Any) -> request_model.Request:
    """Make a request, whose one image has the id IMAGE."""
    about = {field: asked.pop(field)
             for field in ('image_id', 'name', 'made_by', 'owner')
             if field in asked}
    return dataclasses.replace(
        request_model.Request(fake_node.UUID, (
            dataclasses.replace(
                request_model.RequestedImage(IMAGE, 'nightly'), **about),)),
        **asked)
