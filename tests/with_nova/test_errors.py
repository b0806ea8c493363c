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

"""What is raised when a snapshot fails, and how the guest is then."""

from unittest import mock

import ddt
from nova import exception
from nova import objects

from nova_snap.driver import translation
from nova_snap import errors
from tests.fakes import agent as fake_agent
from tests.with_nova import scene

IMAGE = scene.IMAGE
UUID = scene.UUID

# How often the driver calls its callback.
CALLBACKS = 4

CALLBACK_ERRORS = {
    'deleting': lambda: exception.UnexpectedDeletingTaskStateError(
        instance_uuid=UUID, expected='image_uploading', actual='deleting'),
    'another state': lambda: exception.UnexpectedTaskStateError(
        instance_uuid=UUID, expected='image_uploading', actual='rebooting'),
    'gone': lambda: exception.InstanceNotFound(instance_id=UUID)}


@ddt.ddt
class CallbackTestCase(scene.SceneTestCase):
    """Whatever the callback raises passes, and the guest is whole."""

    def raise_at(self, number, error):
        callback = mock.Mock(side_effect=[
            *[None] * (number - 1), error,
            AssertionError('called after it had raised')])
        raised = self.assertRaises(type(error), self.snapshot,
                                   self.start_driver(), callback)
        self.assertIs(error, raised)
        self.assert_guest_whole()
        self.assert_settled()
        # It is for its caller to say what becomes of the image.
        self.assertEqual('queued', self.glance.images[IMAGE]['status'])

    @ddt.data(*range(1, CALLBACKS + 1))
    def test_each_call_of_a_live_snapshot(self, number):
        self.raise_at(number, CALLBACK_ERRORS['deleting']())

    @ddt.data(*range(1, CALLBACKS + 1))
    def test_each_call_of_a_cold_snapshot(self, number):
        self.flags(disable_libvirt_livesnapshot=True, group='workarounds')
        self.raise_at(number, CALLBACK_ERRORS['another state']())

    @ddt.data(*CALLBACK_ERRORS)
    def test_each_of_them(self, kind):
        self.raise_at(CALLBACKS, CALLBACK_ERRORS[kind]())

    def test_with_the_last_state_it_is_not_called_again(self):
        callback = mock.Mock()
        self.snapshot(self.start_driver(), callback)
        self.assertEqual(CALLBACKS, callback.call_count)


class DriverTestCase(scene.SceneTestCase):

    def fail(self, kind):
        raised = self.assertRaises(kind, self.snapshot, self.start_driver())
        self.assertIs(kind, type(raised))
        self.assert_settled()
        return raised

    def test_no_domain(self):
        self.fake.delete_guest()
        self.fail(exception.InstanceNotRunning)
        self.assertEqual([], self.glance.requests)

    def test_the_domain_disappears(self):
        self.calls.then('blockRebase', self.fake.delete_guest)
        self.fail(exception.InstanceNotFound)
        self.assertEqual({}, self.fake.libvirtd.domains)

    def test_a_guest_that_goes_off_without_a_definition_has_failed(self):
        # Nova passes over an instance that is not found: the image vanished
        # and the task state stayed.
        self.calls.then('undefineFlags', self.fake.power_off_guest)
        raised = self.fail(translation.SnapshotFailed)
        self.assertIn(translation.OFF, str(raised))
        domain = self.fake.libvirtd.domains[UUID]
        self.assertTrue(domain.isPersistent())

    def test_no_image(self):
        del self.glance.images[IMAGE]
        self.fail(exception.ImageNotFound)
        self.assertEqual([], self.calls.changes())
        self.assert_guest_whole()

    def test_the_image_disappears(self):
        self.glance.then = lambda words: words.startswith('PUT') and (
            self.glance.images.clear())
        self.fail(exception.ImageNotFound)
        self.assert_guest_whole()

    def test_no_room_in_glance(self):
        self.glance.quota = 1
        self.fail(exception.ImageQuotaExceeded)
        self.assert_guest_whole()

    def test_glance_refuses(self):
        self.glance.forbids_data = True
        self.fail(exception.ImageNotAuthorized)
        self.assert_guest_whole()

    def test_no_room_here(self):
        self.calls.fail_named('convert')
        raised = self.fail(translation.SnapshotFailed)
        self.assertIn(UUID, str(raised))
        # A tenant must hear nothing of this host.
        self.assertNotIn(str(self.fake.folder), str(raised))
        self.assert_guest_whole()

    def test_other_clients_block_job(self):
        self.guest.undefineFlags(0)
        delta = self.fake.folder / 'retype'
        delta.write_bytes((self.fake.folder / 'disk').read_bytes())
        self.guest.blockRebase('vda', str(delta), 0, 1 | 2 | 8)
        self.fake.libvirtd.define(self.fake.xml)
        self.fail(translation.SnapshotFailed)
        self.assertEqual(['vda'], list(self.guest.mirrors))


class QuiesceRequiredTestCase(scene.SceneTestCase):

    system_metadata = scene.QUIESCE

    def test_an_agent_that_is_not_there(self):
        self.guest.agent.channel = fake_agent.Channel.DISCONNECTED
        self.assertRaises(scene.QUIESCE_FAILED, self.snapshot,
                          self.start_driver())
        self.assert_guest_whole()
        self.assertEqual({}, self.glance.data)

    def test_an_agent_that_never_answers(self):
        self.guest.agent.hangs_at = 'fsFreeze'
        self.assertRaises(scene.QUIESCE_FAILED, self.snapshot,
                          self.start_driver())
        self.assertEqual({}, self.glance.data)


class NoAgentTestCase(scene.SceneTestCase):

    system_metadata = {'image_os_require_quiesce': 'yes'}

    def test_quiesce_required_of_an_image_without_agent(self):
        self.assertRaises(exception.QemuGuestAgentNotEnabled, self.snapshot,
                          self.start_driver())
        self.assertEqual([], self.calls.changes())


class ManagerTestCase(scene.SceneTestCase):
    """What nova-compute makes of it, in its own code."""

    def test_image_create_deletes_the_image_and_raises(self):
        self.glance.quota = 1
        self.assertRaises(exception.ImageQuotaExceeded, self.image_create,
                          self.start_manager())
        self.assertEqual({}, self.glance.images)
        self.assertIsNone(self.read().task_state)
        self.assert_guest_whole()

    def test_image_create_of_a_guest_that_is_gone(self):
        self.fake.delete_guest()
        # Nova takes it for deleted, and says nothing.
        self.image_create(self.start_manager())
        self.assertEqual({}, self.glance.images)

    def test_image_create_whose_image_was_deleted(self):
        self.glance.then = lambda words: words.startswith('PUT') and (
            self.glance.images.clear())
        self.image_create(self.start_manager())
        self.assertIsNone(self.read().task_state)
        self.assert_guest_whole()

    def test_shelve_keeps_the_image(self):
        self.glance.quota = 1
        self.assertRaises(exception.ImageQuotaExceeded, self.shelve,
                          self.start_manager())
        self.assertIn(IMAGE, self.glance.images)
        self.assertIsNone(self.read().task_state)
        self.assertEqual('active', self.read().vm_state)
        self.assert_guest_whole(running=False)

    def test_a_tenant_reads_what_happened(self):
        self.calls.fail_named('convert')
        self.assertRaises(translation.SnapshotFailed, self.image_create,
                          self.start_manager())
        fault = objects.InstanceFault.get_latest_for_instance(
            self.context.elevated(), UUID)
        self.assertIn('could not be written', fault.message)
        self.assertNotIn(str(self.fake.folder), fault.message)


class NotPutBackTestCase(scene.SceneTestCase):

    def test_a_tenant_is_told_what_could_not_be_put_back(self):
        lost = errors.HostdevLost(instance='guest', hostdev='a port',
                                  reason='its address is taken')
        undo = errors.UndoFailed(step='DetachHostdev', reason=str(lost))
        left = errors.RollbackIncomplete(reason='', undone='', record='')
        undo.__cause__, left.__cause__ = lost, undo

        def fail():
            with translation.in_novas_words(
                UUID, IMAGE, has_domain=lambda: True
            ):
                raise left

        error = self.assertRaises(translation.SnapshotFailed, fail)
        self.assertIn('a passed-through device could not be given back',
                      str(error))
