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

"""A world, and the steps that change it.

The world is a set of words. The steps write into its log what they did, and
keep what the record on the disk said before, as another process would have
found it if this one had died there.
"""

import logging
import os

import fixtures
from oslotest import base

from nova_snap.journal import store as store_module
from nova_snap.journal import transaction
from tests.unit.journal import records


MEMORY = '/dev/shm' if os.path.isdir('/dev/shm') else None


class World:
    """What the steps change."""

    def __init__(self, store):
        self.store = store
        self.log = []
        self.there = set()

    def phases(self):
        """Return what the disk says of each step, in order."""
        if 'a-record' not in self.store.ids():
            return None
        return [(entry.kind, str(entry.phase))
                for entry in self.store.read('a-record').entries]


class Step:
    """A change that can be told to fail, or to be interrupted.

    :ivar faults: for 'do' and 'undo' what to raise, call by call; what a
        call raises comes after the change, as from a lost answer
    """

    def __init__(self, kind, **faults):
        self.kind = kind
        self.faults = {name: list(what) for name, what in faults.items()}
        self.seen = {}
        self.more = {}

    def facts(self):
        return {'kind': self.kind, **self.more}

    def do(self, world):
        self.seen['do'] = world.phases()
        world.log.append(f'do {self.kind}')
        world.there.add(self.kind)
        self._fail('do')

    def undo(self, world):
        self.seen['undo'] = world.phases()
        world.log.append(f'undo {self.kind}')
        self._fail('undo')
        world.there.discard(self.kind)

    def _fail(self, name):
        if self.faults.get(name):
            fault = self.faults[name].pop(0)
            if fault is not None:
                raise fault


class TransactionTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        # In memory, where there is such a place: what is proven here is the
        # order of the writes, and a test does not wait for a disk.
        self.store = store_module.Store(self.useFixture(
            fixtures.TempDir(rootdir=MEMORY)).path)
        self.store.prepare()
        self.world = World(self.store)
        self.logged = self.useFixture(
            fixtures.FakeLogger(level=logging.WARNING, nuke_handlers=True))

    def transaction(self, **changes):
        return transaction.Transaction(
            self.store, records.record(**changes), self.world)

    def assert_nothing_left(self):
        self.assertEqual(set(), self.world.there)
        self.assertEqual([], self.store.ids())

    def resume(self, *steps):
        """Do what another process does with the record that is left."""
        return transaction.Transaction.resume(
            self.store, self.store.read('a-record'), self.world, steps)
