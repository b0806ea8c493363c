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

"""What a dead nova-compute left, settled by init_host() of the next one."""

import threading
import time
from unittest import mock
import uuid

import ddt
import fixtures
from keystoneauth1 import loading as ks_loading
import nova.conf
from nova import context as nova_context
from nova import exception
from nova import objects
from oslo_db import exception as db_exc

from nova_snap.driver import recovery as recovery_module
from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.flows import snapshot
from nova_snap.model import image as image_model
from nova_snap.model import request as request_model
from nova_snap.steps import image as image_step
from tests.fakes import calls as fake_calls
from tests.fakes.glance import record as image_record
from tests.lab import process
from tests.with_nova import scene

CONF = nova.conf.CONF
IMAGE = scene.IMAGE

RECORD = image_model.ImageSpec(
    image_id=IMAGE, name='nightly', disk_format='qcow2',
    container_format='bare', min_disk=1, min_ram=0, owner=None,
    visibility='private', properties={})

SECOND = '22222222-2222-4222-8222-222222222222'

# The scene lets a start wait longer.
START_SECONDS = recovery_module.START_SECONDS
RECORDS = 100

LIVE = 'blockRebase'
COLD = 'managedSave'


class LeftTestCase(scene.SceneTestCase):
    """A nova-compute was killed in the middle of a snapshot."""

    def die(self, call, owner=None):
        """Begin a snapshot in a process that is killed after a call.

        :param owner: the project whose image it is
        """
        self.fake.set(disable_libvirt_livesnapshot=call == COLD)
        self.fake.glance.create(image_record.of_spec(RECORD))
        dying = self.fake.process()
        dying.calls.kill_named(call)
        try:
            snapshot.take(dying.node, request_model.Request(
                scene.UUID, (request_model.RequestedImage(
                    IMAGE, 'nightly', request_model.Party.NOVA,
                    owner=owner),)))
        except (fake_calls.Killed, errors.SnapError):
            pass
        self.assertTrue(dying.calls.is_dead)
        self.assertNotEqual([], self.records())

    def start(self):
        """Start nova-compute's driver."""
        driver = self.start_driver()
        driver.init_host(scene.HOST)
        return driver

    def lines(self):
        """Return what the log says of records, one line each."""
        return [line for line in self.stdlog.logger.output.splitlines()
                if 'Record ' in line]


@ddt.ddt
class GuestTestCase(LeftTestCase):

    @ddt.data(LIVE, COLD)
    def test_a_guest_of_this_host_comes_back(self, call):
        self.die(call)
        self.start()
        self.assert_guest_whole()
        # Glance may be down: it is not asked.
        self.assertEqual([], self.glance.requests)
        [line] = self.lines()
        self.assertIn(IMAGE, line)

    def test_a_host_that_was_rebooted(self):
        self.die(LIVE)
        self.fake.reboot_host()
        self.start()
        self.assertTrue(self.defined())
        self.assertEqual([], list(self.fake.snapshots.iterdir()))

    def defined(self):
        """Tell whether the domain is."""
        domain = self.fake.libvirtd.domains.get(scene.UUID)
        return domain is not None and bool(domain.isPersistent())

    def assert_stays_down(self):
        """Assert that none comes back, of each kind, and the start."""
        self.assertFalse(self.defined() and self.guest.isActive())
        self.assertEqual([], list(self.fake.snapshots.iterdir()))
        self.assertEqual(1, len(self.lines()))

    def leave(self, call):
        """Leave a guest that only a recovery could bring back."""
        self.die(call)
        if call == LIVE:
            self.fake.reboot_host()

    @ddt.data(LIVE, COLD)
    def test_a_deleted_instance_stays_down(self, call):
        self.leave(call)
        self.read().destroy()
        self.start()
        self.assert_stays_down()
        self.assertEqual(call == COLD, self.defined())

    @ddt.data((LIVE, {'vm_state': 'soft-delete'}),
              (COLD, {'vm_state': 'soft-delete'}),
              (LIVE, {'vm_state': 'deleted'}),
              (COLD, {'task_state': 'deleting'}),
              (LIVE, {'task_state': 'deleting'}),
              (LIVE, {'host': 'node-2'}),
              (COLD, {'host': 'node-2'}))
    @ddt.unpack
    def test_not_here_any_more(self, call, values):
        self.leave(call)
        instance = self.read()
        for name, value in values.items():
            setattr(instance, name, value)
        instance.save()
        self.start()
        self.assert_stays_down()
        self.assertEqual(call == COLD, self.defined())

    def evacuate(self, **values):
        """Write the migration of an evacuation."""
        objects.Migration(nova_context.get_admin_context(), **{
            'instance_uuid': scene.UUID, 'source_compute': scene.HOST,
            'source_node': scene.HOST, 'dest_compute': 'node-2',
            'migration_type': 'evacuation', 'status': 'done',
            **values}).create()

    @ddt.data('accepted', 'pre-migrating', 'done')
    def test_an_evacuated_instance_stays_down(self, status):
        self.leave(LIVE)
        self.evacuate(status=status)
        self.start()
        self.assert_stays_down()
        self.assertFalse(self.defined())

    def test_evacuated_while_it_was_saved(self):
        self.leave(COLD)
        self.evacuate()
        self.start()
        self.assert_stays_down()

    @ddt.data({'status': 'error'}, {'source_compute': 'node-3'},
              {'migration_type': 'live-migration'})
    def test_not_evacuated_from_here(self, values):
        self.leave(COLD)
        self.evacuate(**values)
        self.start()
        self.assert_guest_whole()

    @ddt.data(LIVE, COLD)
    def test_the_database_cannot_be_reached(self, call):
        self.leave(call)
        with scene.mock.patch.object(
                objects.Instance, 'get_by_uuid',
                side_effect=db_exc.DBConnectionError('down')):
            self.start()
        # nova-compute starts, and what is left is not forgotten.
        self.assertEqual(1, len(self.records()))
        self.assertEqual(1, len(self.lines()))
        self.assertFalse(self.guest.isActive())
        self.start()
        self.assertTrue(self.defined())

    def test_a_guest_that_runs_needs_no_word_of_nova(self):
        self.die(LIVE)
        with scene.mock.patch.object(
                objects.Instance, 'get_by_uuid',
                side_effect=db_exc.DBConnectionError('down')):
            self.start()
        self.assert_guest_whole()


@ddt.ddt
class ImageTestCase(LeftTestCase):
    """Glance's part is done later, by the service's own user."""

    def setUp(self):
        super().setUp()
        CONF.register_opts(ks_loading.get_auth_plugin_conf_options(
            'admin_token'), group='service_user')
        self.flags(auth_type='admin_token', token='service-token',
                   endpoint=self.glance.url, group='service_user')

    def settle(self, status):
        """Let the periodic task find an image in this state."""
        self.die('convert')
        self.glance.images[IMAGE]['status'] = status
        self.start()._recovery.images_too()

    @ddt.data('queued', 'saving')
    def test_one_that_is_not_whole_is_deleted(self, status):
        self.settle(status)
        self.assertNotIn(IMAGE, self.glance.images)
        self.assert_settled()
        self.assertEqual({'service-token'}, {
            headers['X-Auth-Token']
            for _, _, headers in self.glance.requests})

    @ddt.data('active', 'importing', 'deactivated')
    def test_any_other_stays(self, status):
        self.settle(status)
        self.assertIn(IMAGE, self.glance.images)
        self.assert_settled()

    def test_an_active_one_with_other_bytes_than_were_sent_is_deleted(self):
        self.fake.glance.corrupts = True
        self.die('delete')
        self.glance.images[IMAGE]['status'] = 'active'
        self.start()._recovery.images_too()
        self.assertNotIn(IMAGE, self.glance.images)
        self.assert_settled()

    def test_a_retry_by_another_project_leaves_it_to_the_service(self):
        self.die('convert', owner='admins')
        self.glance.images[IMAGE]['owner'] = 'admins'
        self.glance.add(SECOND, owner=scene.PROJECT)
        self.glance.project = scene.PROJECT
        driver = self.start()
        driver.snapshot(self.context, self.instance, SECOND,
                        scene.mock.Mock())
        self.assertEqual('active', self.glance.images[SECOND].status)
        self.assertEqual('queued', self.glance.images[IMAGE].status)
        self.glance.project = None
        driver._recovery.images_too()
        self.assertNotIn(IMAGE, self.glance.images)
        self.assert_settled()

    def test_a_retry_by_its_own_project_deletes_it(self):
        self.die('convert', owner=scene.PROJECT)
        self.glance.images[IMAGE]['owner'] = scene.PROJECT
        self.glance.add(SECOND, owner=scene.PROJECT)
        self.glance.project = scene.PROJECT
        self.start().snapshot(self.context, self.instance, SECOND,
                              scene.mock.Mock())
        self.assertEqual([SECOND], list(self.glance.images))
        self.assert_settled()

    def test_the_record_says_whose_image_it_is(self):
        self.glance.add(SECOND, owner='admins')
        owners = []

        def look(**states):
            owners.extend(entry.facts.get('owner')
                          for record in self.fake.process().store.read_all()
                          for entry in record.entries
                          if entry.kind == image_step.AdoptImage.__name__)

        self.start_driver().snapshot(self.context, self.instance, SECOND,
                                     look)
        self.assertEqual({'admins'}, set(owners))

    def test_glance_is_down(self):
        self.die('convert')
        self.glance.then = lambda words: self.glance.images.clear()
        driver = self.start()
        self.glance.lifetime = 0
        driver._recovery.images_too()
        self.assertEqual(1, len(self.records()))

    def test_no_user_to_sign_in_as(self):
        self.die('convert')
        driver = self.start()
        self.flags(auth_type=None, group='service_user')
        driver._recovery.images_too()
        self.assertEqual(1, len(self.records()))
        self.assertIn(IMAGE, self.glance.images)


class StartTestCase(LeftTestCase):

    def hold_up(self):
        """Let no recovery come to its end before the event is set."""
        released = threading.Event()
        self.addCleanup(released.set)
        settle = recovery.settle

        def settle_later(*args, **kwargs):
            released.wait()
            return settle(*args, **kwargs)

        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.flows.recovery.settle', settle_later))
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.driver.recovery.START_SECONDS', 0.1))
        return released

    def test_a_guest_that_takes_minutes_does_not_hold_up_nova_compute(self):
        self.die(COLD)
        released = self.hold_up()
        self.start()
        self.assertFalse(self.guest.isActive())
        self.assertIn('goes on while nova-compute runs',
                      self.stdlog.logger.output)
        released.set()
        process.wait_until(self.lines, timeout=scene.PATIENCE_SECONDS,
                           what='the line of the guest that is back')
        self.assert_guest_whole()

    def test_nova_starts_no_guest_that_is_about_to_come_back(self):
        self.die(COLD)
        released = self.hold_up()
        seen = []
        # Its arguments differ between the releases.
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.resume_state_on_host_boot',
            lambda *_: seen.append(bool(self.guest.isActive()))))
        driver = self.start()
        # nova-compute is starting still: it does not wait here.
        driver.resume_state_on_host_boot(self.context, self.instance, None)
        self.assertEqual([], seen)
        released.set()
        process.wait_until(lambda: seen, timeout=scene.PATIENCE_SECONDS,
                           what='Nova\'s turn')
        self.assertEqual([True], seen)
        self.assert_guest_whole()

    def test_what_nova_raises_after_its_guest_came_back_is_logged(self):
        self.die(COLD)
        released = self.hold_up()

        def fail(*_):
            raise exception.NovaException('no disk')

        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.resume_state_on_host_boot',
            fail))
        driver = self.start()
        driver.resume_state_on_host_boot(self.context, self.instance, None)
        released.set()
        process.wait_until(
            lambda: 'is not resumed' in self.stdlog.logger.output,
            timeout=scene.PATIENCE_SECONDS, what='the line in the log')

    def test_a_guest_that_does_not_answer_holds_up_no_other(self):
        """Each is settled in a thread of its own."""
        slow, quick = (mock.Mock(name=name) for name in ('slow', 'quick'))
        done = threading.Event()
        driver = self.start_driver()

        def settle(node, finding, *, artifacts):
            if finding is quick:
                done.set()
            self.assertTrue(done.wait(scene.PATIENCE_SECONDS))
            return mock.Mock(outcome=recovery.Outcome.SETTLED)

        with mock.patch.multiple('nova_snap.flows.recovery', settle=settle,
                                 look=lambda node: [slow, quick]):
            driver._recovery.guests()
        self.assertTrue(done.is_set())
        self.assertNotIn('is not settled', self.stdlog.logger.output)

    def test_a_hundred_records_take_less_than_a_start_waits(self):
        self.die(LIVE)
        self.multiply_record(RECORDS)
        # However busy the machine is.
        began = time.process_time()
        self.start()
        self.assertLess(time.process_time() - began, START_SECONDS)
        self.assert_guest_whole()
        self.assertEqual(RECORDS, len(self.lines()))

    def multiply_record(self, count):
        """Let as many instances have the same in the journal."""
        (record_id,) = self.records()
        path = self.fake.folder.joinpath('journal', 'records',
                                         f'{record_id}.json')
        text = path.read_text()
        for number in range(1, count):
            other = f'{number:032x}'
            path.with_name(f'{other}.json').write_text(
                text.replace(record_id, other).replace(
                    scene.UUID, str(uuid.UUID(int=number))))

    def test_a_journal_that_cannot_be_kept(self):
        driver = self.start_driver()
        (self.fake.folder / 'journal').write_text('a file')
        self.assertRaises(errors.JournalError, driver.init_host, scene.HOST)

    def test_nothing_is_left(self):
        self.start()
        self.assertEqual([], self.lines())
        self.assertEqual([], self.calls.changes())

    def test_a_record_that_cannot_be_read(self):
        self.die(LIVE)
        [record] = (self.fake.folder / 'journal' / 'records').iterdir()
        record.write_text('{"version": 2')
        driver = self.start()
        # Its guest is undefined: it is said once, and loudly.
        driver._recovery.images_too()
        [line] = self.lines()
        self.assertIn(str(record), line)
        self.assertIn('ERROR', line)
        self.assertFalse(self.guest.isPersistent())

    def test_the_record_of_another_host(self):
        self.die(LIVE)
        self.flags(host='node-9')
        driver = self.start_driver()
        driver.init_host('node-9')
        self.assertFalse(self.guest.isPersistent())
        # Its guest is undefined: it is said once, and loudly.
        driver._recovery.images_too()
        [line] = self.lines()
        self.assertIn(scene.HOST, line)
        self.assertIn('ERROR', line)
        self.assertNotIsInstance(driver, exception.NovaException)
