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

"""A snapshot into an image whose record Nova has made."""

import logging
import shlex

import ddt
import fixtures

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.model import image as image_model
from nova_snap.model import observer as observer_module
from nova_snap.model import phase as phase_model
from nova_snap.model import request as request_model
from tests.fakes import calls as fake_calls
from tests.fakes.glance import record as image_record
from tests.fakes.glance import store as glance_store
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

Phase = phase_model.Phase

Outcome = recovery.Outcome

SECOND = '22222222-2222-4222-8222-222222222222'

RECORD = image_model.ImageSpec(
    image_id=flow_scene.IMAGE, name='nightly', disk_format='qcow2',
    container_format='bare', min_disk=1, min_ram=0, owner=None,
    visibility='private', properties={})


@ddt.ddt
class AdoptedTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.stored = self.fake.glance.create(
            image_record.of_spec(RECORD) | {'base_image_ref': 'kept'})

    def test_its_record_is_not_made_again(self):
        process = self.fake.process()
        self.take(process, made_by=request_model.Party.NOVA)
        self.assertEqual(
            ['set_properties nova_snap_consistency=none, '
             f'nova_snap_consistency_of={flow_scene.IMAGE}', 'upload'],
            process.calls.of('glance'))
        self.assertEqual('active', self.stored.status)
        self.assertEqual('kept', self.stored.properties['base_image_ref'])

    @ddt.data('queued', 'saving')
    def test_killed_it_is_deleted_later(self, status):
        before = self.state()
        self.die('convert', made_by=request_model.Party.NOVA)
        self.stored.status = status

        (finding,) = self.recover(artifacts=False)

        # The guest needs no Glance, and must not wait for one.
        self.assertEqual(Outcome.LEFT, finding.outcome)
        self.assertIn(flow_scene.IMAGE, finding.reason)
        self.assert_guest_untouched(before)
        self.assertIn(flow_scene.IMAGE, self.fake.glance.stored)
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(before)

    def test_killed_after_its_data_was_whole_it_stays(self):
        self.die('upload', made_by=request_model.Party.NOVA)
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_all_or_nothing()
        self.assertIn(flow_scene.IMAGE, self.fake.glance.stored)

    def test_of_ours_nothing_is_put_off_that_is_no_image(self):
        self.die('fsThaw', made_by=request_model.Party.NOVA, quiesce='require')
        process = self.fake.process()
        recovery.recover(process.node, artifacts=False)
        self.assertEqual([], process.calls.of('glance'))
        self.assertFalse(self.fake.guest.agent.frozen)


class HiddenTestCase(flow_scene.FlowTestCase):
    """An admin took the first snapshot, and a member takes the next one."""

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.fake.glance.create(image_record.of_spec(RECORD)
                                | {'owner': 'admins'})
        self.before = self.state()
        self.die('convert', made_by=request_model.Party.NOVA,
                 owner='admins')

    def retry(self):
        """Take the next one, as a member of another project."""
        self.fake.glance.project = 'members'
        self.addCleanup(setattr, self.fake.glance, 'project', None)
        self.fake.glance.add(SECOND, owner='members', disk_format='qcow2',
                             container_format='bare')
        return self.take(image_id=SECOND, owner='members',
                         made_by=request_model.Party.NOVA)

    def test_a_retry_does_not_take_a_hidden_image_for_one_that_is_gone(self):
        log = self.useFixture(fixtures.FakeLogger(level=logging.WARNING))
        self.retry()

        self.assertEqual('active', self.fake.glance.stored[SECOND].status)
        self.assertEqual('queued',
                         self.fake.glance.stored[flow_scene.IMAGE].status)
        self.assertEqual(1, len(self.records()))
        self.assertIn('project admins', log.output)

    def test_who_sees_all_images_settles_it_later(self):
        self.retry()
        self.fake.glance.project = None

        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assertEqual([SECOND], list(self.fake.glance.stored))
        self.assertEqual([], self.records())

    def test_a_member_of_another_project_does_not_settle_it(self):
        self.retry()

        (finding,) = self.recover()

        self.assertEqual(Outcome.FAILED, finding.outcome)
        self.assertIn('nova-snap recover', finding.reason)

    def test_of_the_same_project_it_is_gone_before_the_next_begins(self):
        self.fake.glance.stored[flow_scene.IMAGE]['owner'] = 'members'

        self.retry()

        self.assertEqual([SECOND], list(self.fake.glance.stored))
        self.assertEqual([], self.records())


class OwnTestCase(flow_scene.FlowTestCase):

    def test_an_image_of_ours_that_is_hidden_is_not_taken_for_gone(self):
        self.fake.guest.create()
        self.die('convert')
        (stored,) = self.fake.glance.stored.values()
        stored['owner'] = 'admins'
        self.fake.glance.project = 'members'

        (finding,) = self.recover()

        self.assertEqual(Outcome.FAILED, finding.outcome)
        self.assertEqual(1, len(self.records()))


class WhatNovaKnowsTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(properties={})

    def setUp(self):
        super().setUp()
        self.fake.guest.create()

    def test_the_image_asks_for_a_freeze(self):
        result = self.take(image_properties={'os_require_quiesce': 'True'})
        self.assertEqual('frozen', result.consistency)

    def test_the_image_asks_for_none(self):
        result = self.take(image_properties={'os_require_quiesce': 'False'})
        self.assertEqual('none', result.consistency)


@ddt.ddt
class CorruptTestCase(flow_scene.FlowTestCase):
    """Nova keeps the image of a shelved instance, also of one that failed."""

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.fake.glance.create(image_record.of_spec(RECORD))
        self.fake.glance.corrupts = True

    def test_a_corrupt_image_is_deleted_although_nova_made_it(self):
        self.assertRaises(errors.ImageCorrupt, self.take,
                          made_by=request_model.Party.NOVA)
        self.assertEqual({}, self.fake.glance.stored)
        self.assert_nothing_left(self.before)

    def test_one_that_cannot_be_deleted_at_once_is_tried_again(self):
        process = self.fake.process()
        process.calls.fail_named('delete')
        log = self.useFixture(fixtures.FakeLogger(level=logging.ERROR))
        self.assertRaises(errors.ImageCorrupt, self.take, process,
                          made_by=request_model.Party.NOVA)
        self.assertIn(f'openstack image delete {flow_scene.IMAGE}',
                      log.output)
        self.assertEqual({}, self.fake.glance.stored)
        self.assert_nothing_left(self.before)

    @ddt.data(request_model.Party.NOVA, request_model.Party.US)
    def test_its_record_stays_until_it_is_gone(self, made_by):
        self.fake.glance.stored.clear()
        if made_by == request_model.Party.NOVA:
            self.fake.glance.create(image_record.of_spec(RECORD))
        process = self.fake.process()
        process.calls.fail_named('delete', None)
        error = self.assertRaises(errors.RollbackIncomplete, self.take,
                                  process, made_by=made_by)
        self.assertIsInstance(error.__cause__, errors.ImageCorrupt)
        self.assert_guest_untouched(self.before)
        (stored,) = self.fake.glance.stored.values()
        self.assertEqual('active', stored.status)
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(self.before)

    @ddt.data(fake_calls.When.BEFORE, fake_calls.When.AFTER)
    def test_killed_while_it_is_deleted_it_is_deleted_later(self, when):
        self.die('delete', when, made_by=request_model.Party.NOVA)
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(self.before)


class JudgedTestCase(flow_scene.FlowTestCase):
    """Glance looks at the first bytes of what it is sent."""

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.fake.glance.troubles = [glance_store.Trouble(answer=415)]

    def test_of_a_raw_image_that_it_does_not_take_the_cure_is_said(self):
        error = self.assertRaises(errors.ImageServiceError, self.take,
                                  image_format='raw')

        self.assert_nothing_left(self.before)
        # And it is one.
        command = shlex.split(str(error).split('"')[1])
        self.assertEqual(['nova-snap', 'image-create', fake_node.NAME,
                          'nightly', '--format', 'qcow2'], command)
        self.assertEqual('active', self.take(
            image_format=command[-1]).images[0].status)

    def test_under_nova_the_cure_is_an_option(self):
        self.fake.glance.create(image_record.of_spec(RECORD))
        error = self.assertRaises(
            errors.ImageServiceError, self.take, image_format='raw',
            made_by=request_model.Party.NOVA)

        self.assertIn('snapshot_image_format = qcow2', str(error))
        self.assertNotIn('nova-snap image-create', str(error))

    def test_the_cure_is_not_said_of_what_it_does_not_cure(self):
        error = self.assertRaises(errors.ImageServiceError, self.take,
                                  image_format='qcow2')

        self.assertNotIn('--format', str(error))


class Stopper(observer_module.Observer):
    """Ends the operation at one moment of it.

    :param moment: a phase that begins, one that is under way, or a word
    """

    MOMENTS = (*((phase, is_under_way) for phase in
                 (Phase.MIRROR, Phase.CONVERT, Phase.UPLOAD)
                 for is_under_way in (False, True)),
               ('before upload', False), ('before commit', False))

    def __init__(self, moment):
        self._moment = moment
        self._phase = None

    def _look(self, *moment):
        if moment == self._moment:
            raise errors.Cancelled(reason='the service stops')

    def begins(self, phase):
        self._phase = phase
        self._look(phase, False)

    def advances(self, done, total):
        self._look(self._phase, True)

    def before_upload(self, image_formats):
        self._look('before upload', False)

    def before_commit(self):
        self._look('before commit', False)


@ddt.ddt
class StoppedTestCase(flow_scene.FlowTestCase):
    """The door says that the operation shall end."""

    @ddt.data(*Stopper.MOMENTS)
    def test_guest_is_as_it_was(self, moment):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process(Stopper(moment))
        self.assertRaises(errors.Cancelled, self.take, process)
        self.assert_nothing_left(before)
