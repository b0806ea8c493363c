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

"""What recovery makes of a guest of Nova's, which Nova may have acted on."""

import dataclasses

import libvirt

from nova_snap import errors
from nova_snap.flows import recovery
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

Outcome = recovery.Outcome
SHUTOFF = libvirt.VIR_DOMAIN_SHUTOFF


class NovaTestCase(flow_scene.FlowTestCase):
    """A saved guest of Nova's is started by us only where Nova is not."""

    spec = fake_node.GuestSpec(nova=True)

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.die('managedSave', cold=True)
        self.fake.nova_compute_runs = True

    def test_nova_runs(self):
        (finding,) = self.recover()
        self.assertEqual(Outcome.FAILED, finding.outcome)
        self.assertIn('--nova-is-stopped', finding.reason)
        self.assertIs(False, self.fake.guest.saved)
        self.assertEqual(1, self.fake.guest.starts)
        self.assertEqual(1, len(self.records()))
        # All the rest is undone.
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], list(self.fake.snapshots.iterdir()))

    def test_nova_is_said_to_be_stopped(self):
        self.assertEqual([Outcome.SETTLED],
                         self.outcomes(nova_is_stopped=True))
        self.assert_nothing_left(self.before)

    def test_nova_does_not_run(self):
        self.fake.nova_compute_runs = False
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(self.before)

    def test_nova_says_that_it_is_here(self):
        self.fake.why_away = lambda uuid: None
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(self.before)

    def test_nova_says_that_it_is_elsewhere(self):
        self.fake.why_away = lambda uuid: 'Nova has it on node-2'
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assertIs(False, self.fake.guest.saved)
        self.assertEqual(1, self.fake.guest.starts)
        self.assertEqual([], self.records())

    def test_nova_has_started_it(self):
        self.fake.guest.create()
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assertEqual(2, self.fake.guest.starts)
        self.assert_nothing_left(self.before)

    def test_nova_has_deleted_it(self):
        self.fake.delete_guest()
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assertEqual({}, self.fake.libvirtd.domains)
        self.assertEqual({}, self.fake.glance.stored)

    def test_live_it_is_settled_also_while_nova_runs(self):
        self.fake = self.make_node(self.spec)
        self.fake.guest.create()
        before = self.state()
        self.die('blockRebase')
        self.fake.nova_compute_runs = True
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(before)


class NovaGoneTestCase(flow_scene.FlowTestCase):
    """A guest of Nova's that was off while it had no definition.

    Its disk is there: on shared storage it also is after a move.
    """

    spec = fake_node.GuestSpec(nova=True)

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.die('undefineFlags', quiesce='want')
        self.fake.power_off_guest()
        self.assertEqual({}, self.fake.libvirtd.domains)

    def assert_not_defined(self):
        self.assertEqual({}, self.fake.libvirtd.domains)
        # All the rest is undone.
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], list(self.fake.snapshots.iterdir()))

    def assert_defined(self):
        self.fake.guest = self.fake.libvirtd.domains[fake_node.UUID]
        self.assert_nothing_left(dataclasses.replace(
            self.before, is_active=False, now=SHUTOFF))

    def test_nova_runs(self):
        self.fake.nova_compute_runs = True
        (finding,) = self.recover()
        self.assertEqual(Outcome.FAILED, finding.outcome)
        for words in ('UndefineDomain', 'not defined again',
                      '--nova-is-stopped', 'remove the record'):
            self.assertIn(words, finding.reason)
        self.assert_not_defined()
        self.assertEqual(1, len(self.records()))

    def test_nova_runs_and_there_is_a_new_snapshot_to_take(self):
        self.fake.nova_compute_runs = True
        self.assertRaises(errors.InstanceBusy, self.take)
        self.assert_not_defined()

    def test_nova_has_defined_it_again(self):
        self.fake.nova_compute_runs = True
        self.fake.hard_reboot_guest()
        theirs = dataclasses.replace(self.state(), files=())
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(theirs)

    def test_nova_is_said_to_be_stopped(self):
        self.fake.nova_compute_runs = True
        self.assertEqual([Outcome.SETTLED],
                         self.outcomes(nova_is_stopped=True))
        self.assert_defined()

    def test_nova_does_not_run(self):
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_defined()

    def test_nova_says_that_it_is_here(self):
        # More than a command can know: this is not asked of the processes.
        self.fake.nova_compute_runs = True
        asked = []
        self.fake.why_away = asked.append
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assertEqual([fake_node.UUID], asked)
        self.assert_defined()

    def test_nova_says_that_it_is_elsewhere(self):
        self.fake.why_away = lambda uuid: 'Nova has it on node-2'
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_not_defined()
        self.assertEqual([], self.records())

    def test_nova_cannot_say(self):
        def unknown(uuid):
            raise errors.Refused(reason='the database is down')

        self.fake.why_away = unknown
        (finding,) = self.recover()
        self.assertEqual(Outcome.FAILED, finding.outcome)
        self.assertIn('the database is down', finding.reason)
        self.assert_not_defined()
        self.fake.why_away = None
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_defined()

    def test_nova_is_not_asked_by_the_owner_itself(self):
        # The guest was there a moment ago, and the owner holds its lock.
        self.fake = self.make_node(self.spec)
        self.fake.nova_compute_runs = True
        self.fake.guest.create()
        self.before = self.state()
        process = self.fake.process()
        process.calls.then('undefineFlags', self.fake.power_off_guest)
        self.assertRaises(errors.SnapError, self.take, process)
        self.assert_defined()

    def test_nova_is_not_asked_about_a_guest_of_others(self):
        self.fake = self.make_node(fake_node.GuestSpec())
        self.fake.nova_compute_runs = True
        self.fake.why_away = lambda uuid: self.fail('asked')
        self.fake.guest.create()
        self.before = self.state()
        self.die('undefineFlags')
        self.fake.power_off_guest()
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_defined()
