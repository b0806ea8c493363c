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

"""Snapshots that cannot go on: said, rolled back, the guest as it was."""

import contextlib
import json
import os

import ddt
import libvirt

from nova_snap import errors
from nova_snap.flows import image as image_flow
from nova_snap.flows import live
from nova_snap import units
from tests.functional import base
from tests.functional import children
from tests.functional import refusals
from tests.lab import glance as glance_module
from tests.lab.guest import domain as guest_domain
from tests.lab import process
from tests.lab import proxy

FAILED, REFUSED = refusals.FAILED, refusals.REFUSED

# Seconds until something that was started shows.
PATIENCE = 60
# Bytes per second at which a phase lasts until a test has seen it. A mirror
# need not come to its end so: each small record of the guest costs it 64 KiB.
SLOWLY = 16 * units.MiB
# What the guests keep of the file system.
RESERVE = 64 * units.MiB
# The flat image of the root disk, in the scratch directory.
FLAT = f'{image_flow.FLAT_NAME}-vda'


def is_mirrored(guest):
    return '<mirror' in guest.domain.XMLDesc()


def set_speed(guest, bandwidth):
    """Make the mirror slower or faster than it was asked to be; 0 is most."""
    with contextlib.suppress(libvirt.libvirtError):
        guest.domain.blockJobSetSpeed(
            'vda', bandwidth,
            libvirt.VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES)


class OneAtATimeTestCase(refusals.RefusalTest):
    """While a mirror runs, slowly, in a process of its own."""

    def setUp(self):
        super().setUp()
        # All that it has is in the layer that is mirrored.
        self.running = self.guest('qcow2', shared=True)
        self.before = base.look(self.running)
        # So that the next child starts at once.
        self.child('status')
        self.options['nova_snap']['bandwidth'] = str(SLOWLY)
        self.first = self.start_nova_snap(
            'image-create', self.running.spec.name, 'first')
        self.addCleanup(self.first.communicate)
        process.wait_until(lambda: is_mirrored(self.running),
                           timeout=PATIENCE, what='mirror')
        set_speed(self.running, units.MiB)

    def end_first(self):
        """Let the first command go on, and wait for its end."""
        set_speed(self.running, 0)
        _, err = self.first.communicate(timeout=base.COMMAND_TIMEOUT)
        return self.first.returncode, err

    def test_a_second_snapshot(self):
        ended = self.child('image-create', self.running.spec.name, 'second')
        self.assert_no(REFUSED, ended, 'is busy', 'another snapshot of it',
                       '"nova-snap status"')
        self.assertTrue(is_mirrored(self.running))
        code, err = self.end_first()
        self.assertEqual(0, code, err)
        (image,) = set(self.images()) - self._images_before
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left(image)

    def test_recover_and_status_leave_it_alone(self):
        (under_way,) = json.loads(self.child('status', '--json').stdout)
        self.assertEqual('under way', under_way['outcome'])
        recovered = self.child('recover', '--json')
        self.assertEqual(0, recovered.code, recovered.stderr)
        self.assertEqual('under way',
                         json.loads(recovered.stdout)[0]['outcome'])
        self.assertEqual(0, self.end_first()[0])
        self.assert_guest_untouched(self.running, self.before)

    def test_libvirtd_is_restarted_under_it(self):
        """It goes on or rolls back: all or nothing, and a guest as it was."""
        self.lab.libvirtd.restart()
        code, err = self.end_first()
        new = {image['id']: image['status'] for image in
               self.images().values() if image['name'] == 'first'}
        self.assertNotIn('Traceback', err)
        self.assertEqual(0 if new else FAILED, code, err)
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left(*new)


@ddt.ddt
class AgentTestCase(refusals.RefusalTest):
    """Frozen file systems are required, and cannot be had."""

    def setUp(self):
        super().setUp()
        self.options['nova_snap']['freeze_timeout'] = '2'

    @ddt.data(
        ('absent', REFUSED, ('no guest agent runs in it',
                             'install and start qemu-guest-agent')),
        ('hung', FAILED, ('could not be frozen', 'not')))
    @ddt.unpack
    def test_by_the_image(self, agent, code, says):
        guest = self.guest(agent=agent, nova=guest_domain.NovaMetadata(
            image_properties={'hw_qemu_guest_agent': 'True',
                              'os_require_quiesce': 'True'}))
        self.refuse(code, guest, says=says)


@ddt.ddt
class ImageServiceTestCase(refusals.RefusalTest):
    """Glance says no, or nothing, at each of the requests made of it."""

    def setUp(self):
        super().setUp()
        self.running = self.guest(shared=True)
        self.proxy = proxy.Proxy(self.lab.glance.endpoint)
        self.addCleanup(self.proxy.stop)
        self.options['nova_snap']['endpoint'] = self.proxy.endpoint
        self.options['glance'] = {'num_retries': '0'}

    def refuse(self, *arguments, says):
        return super().refuse(FAILED, self.running, *arguments, says=says)

    def test_it_is_down(self):
        self.options['nova_snap']['endpoint'] = 'http://127.0.0.1:1'
        self.refuse(says=('Glance does not answer', '127.0.0.1:1',
                          'does the service run?'))

    @ddt.data(
        ('GET', proxy.IMAGES, 401), ('GET', proxy.IMAGES, 403),
        ('POST', proxy.IMAGES, 401), ('POST', proxy.IMAGES, 403),
        ('PUT', proxy.FILE, 401), ('PUT', proxy.FILE, 403))
    @ddt.unpack
    def test_it_refuses(self, method, path, status):
        self.proxy.inject(proxy.Fault(method, path, nth=None, status=status))
        self.refuse(says=('Glance refuses', {
            401: 'the credentials are not accepted', 403: 'role'}[status]))

    def test_a_remark_that_it_refuses_fails_no_snapshot(self):
        self.proxy.inject(proxy.Fault('PATCH', proxy.IMAGE, nth=None,
                                      status=403))
        guest = self.guest(shared=True, agent='run')
        before = base.look(guest)
        ended = self.child('image-create', guest.spec.name, 'said',
                           '--quiesce', 'require', '--json')
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertIn('does not say how consistent it is', ended.stderr)
        (image,) = json.loads(ended.stdout)['images']
        found = self.image(image['image_id'])
        self.assertEqual(('active', 'none'), (
            found['status'], found['nova_snap_consistency']))
        self.assert_guest_untouched(guest, before)
        self.assert_nothing_left(image['image_id'])

    @ddt.data(
        ('GET', proxy.IMAGES, 503), ('POST', proxy.IMAGES, 500),
        ('PUT', proxy.FILE, 503))
    @ddt.unpack
    def test_it_is_ill(self, method, path, status):
        self.proxy.inject(proxy.Fault(method, path, nth=None, status=status))
        self.refuse(says=('Glance', str(status)))

    def test_it_is_out_of_quota(self):
        project = glance_module.IDENTITY.split(':')[1]
        before = base.look(self.running)
        with self.lab.glance.use_up_quota(project, units.MiB):
            ended = self.child('image-create', self.running.spec.name,
                               'refused')
        self.assert_no(FAILED, ended, 'out of quota')
        self.assert_guest_untouched(self.running, before)
        self.assert_nothing_left()

    def test_the_image_is_deleted_half_way(self):
        def delete():
            (image,) = set(self.images()) - self._images_before
            self.delete_image(image)

        fault = self.proxy.inject(proxy.Fault(
            'PUT', proxy.FILE, call=delete, call_after=units.MiB))
        self.refuse(says=('was deleted in Glance while it was made',))
        self.assertTrue(fault.happened.is_set())


@ddt.ddt
class NoSpaceTestCase(refusals.RefusalTest):
    """A file system that had room enough when the plan was made.

    Upstream has a guest frozen and undefined for ever here.
    """

    def setUp(self):
        super().setUp()
        # A tmpfs has no O_DIRECT.
        # All that it has is in the layer that is mirrored.
        self.running = self.guest('qcow2', shared=True, agent='run',
                                  cache='writeback')
        path = self.enter_file_system()
        self.options['libvirt']['snapshots_directory'] = str(path)
        self.options['nova_snap']['space_reserve'] = '0'
        self.options['nova_snap']['bandwidth'] = str(SLOWLY)
        self.path = path

    def enter_file_system(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(self.lab.libvirtd.small_file_system(
            'space', 256 * units.MiB))

    def is_written(self, name):
        """Tell whether a file of the scratch directory grows."""
        return any(file.stat().st_blocks
                   for file in self.path.glob(f'*/{name}')) and (
            name == FLAT or is_mirrored(self.running))

    @ddt.data(
        (live.DELTA_NAME, ('ended by itself', 'full')),
        (FLAT, ('No space left on device',)))
    @ddt.unpack
    def test_it_fills_up_while_this_is_written(self, name, says):
        before = base.look(self.running)
        command = self.start_nova_snap(
            'image-create', self.running.spec.name, 'refused', '--quiesce',
            'require')
        with contextlib.ExitStack() as stack:
            stack.callback(command.communicate)
            if name == FLAT:
                process.wait_until(lambda: is_mirrored(self.running),
                                   timeout=PATIENCE, what='mirror')
                set_speed(self.running, 0)
            process.wait_until(
                lambda: self.is_written(name) or command.poll() is not None,
                timeout=PATIENCE, what=name)
            refusals.fill(self.path)
            _, err = command.communicate(timeout=base.COMMAND_TIMEOUT)
        self.assert_no(FAILED, children.Ended(command.returncode, '', err,
                                              ()), *says)
        self.assertEqual(['ballast'], os.listdir(self.path))
        self.assert_guest_untouched(self.running, before)
        self.assert_nothing_left()

    def test_it_is_left_to_the_guests_before_it_is_full(self):
        before = base.look(self.running)
        self.options['nova_snap']['space_reserve'] = str(RESERVE)
        command = self.start_nova_snap(
            'image-create', self.running.spec.name, 'refused')
        with contextlib.ExitStack() as stack:
            stack.callback(command.communicate)
            process.wait_until(
                lambda: (self.is_written(live.DELTA_NAME)
                         or command.poll() is not None),
                timeout=PATIENCE, what='delta')
            refusals.fill(self.path, left=RESERVE // 2)
            _, err = command.communicate(timeout=base.COMMAND_TIMEOUT)
        self.assert_no(FAILED, children.Ended(command.returncode, '', err,
                                              ()), 'space_reserve')
        self.assertEqual(['ballast'], os.listdir(self.path))
        self.assert_guest_untouched(self.running, before)
        self.assert_nothing_left()

    def test_it_fills_up_while_the_guest_is_frozen(self):
        """The recorder writes past the file systems, and loses the mirror."""
        before = base.look(self.running)
        self.options['nova_snap']['bandwidth'] = '0'

        def freeze(call, *args):
            count = call()
            refusals.fill(self.path)
            process.wait_until(
                lambda: not is_mirrored(self.running),
                timeout=PATIENCE, what='end of the mirror')
            return count

        exc = self.assertRaises(
            errors.BlockJobLost, self.take, self.running,
            base.Hooks({'domain.freeze': freeze}), quiesce='require')
        self.assertIn('ended before it was told to', str(exc))
        self.assertEqual(['ballast'], os.listdir(self.path))
        self.assert_guest_untouched(self.running, before)
        self.assert_nothing_left()

    def test_the_disk_of_the_journal_fills_up_under_way(self):
        before = base.look(self.running)
        with self.lab.libvirtd.small_file_system('journal', units.MiB) as (
                path):
            self.options['nova_snap']['journal_dir'] = str(path / 'journal')

            def mirror(call, *args):
                call()
                refusals.fill(path)

            exc = self.assertRaises(
                errors.JournalError, self.take, self.running,
                base.Hooks({'block_device.rebase_to_copy': mirror}))
            self.assertIn('No space left on device', str(exc))
            self.assertEqual([], list(path.glob('journal/records/*')))
        self.assertEqual([], os.listdir(self.path))
        self.assert_guest_untouched(self.running, before)
        self.assert_nothing_left()
