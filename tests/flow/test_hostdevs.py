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

"""Cold snapshots of guests with passed-through devices."""

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.flows import snapshot
from tests.fakes import devices
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

DETACH_PCI = [
    'journal write DetachHostdev intent',
    'libvirt detachDeviceFlags hostdev pci 3b:00.1',
    'journal write DetachHostdev done',
]
DETACH_PORT = [
    'journal write DetachHostdev intent',
    'libvirt detachDeviceFlags interface hostdev 3b:02.1',
    'journal write DetachHostdev done',
]


class HostdevTestCase(flow_scene.FlowTestCase):

    hostdevs = devices.PCI + devices.MDEV + devices.PORT

    def setUp(self):
        super().setUp()
        self.fake = self.make_node(fake_node.GuestSpec(
            hostdev=self.hostdevs))
        self.fake.guest.create()
        self.before = self.state()
        self.life = self.fake.guest.hostdevs.life
        self.process = self.fake.process()

    def fail(self, kind=errors.SnapError):
        return self.assertRaises(kind, self.take, self.process, cold=True)

    def kinds(self):
        """Return what the guest has now."""
        return self.fake.guest.hostdevs.facts()


class OrderTestCase(HostdevTestCase):

    hostdevs = devices.PCI + devices.PORT

    def test_taken_out_before_the_save_and_back_before_the_upload(self):
        self.take(self.process, cold=True)
        changes = self.process.calls.changes()
        first = changes.index(DETACH_PCI[0])
        self.assertEqual(
            [*DETACH_PCI, *DETACH_PORT,
             'journal write SaveMemory intent',
             'libvirt managedSave',
             'journal write SaveMemory done',
             'files clone disk',
             'qemu-img convert disk:qcow2 base1:raw image-vda:qcow2',
             'libvirt createWithFlags',
             'journal write SaveMemory undone',
             'libvirt attachDeviceFlags interface hostdev 3b:02.1',
             'journal write DetachHostdev undone',
             'libvirt attachDeviceFlags hostdev pci 3b:00.1',
             'journal write DetachHostdev undone'],
            changes[first:first + 17])
        self.assertLess(changes.index('libvirt attachDeviceFlags hostdev pci '
                                      '3b:00.1'),
                        changes.index('libvirt setTime'))
        self.assertLess(changes.index('libvirt setTime'),
                        changes.index('glance upload'))
        self.assert_guest_untouched(self.before)
        self.assert_all_or_nothing()

    def test_plan_names_them(self):
        made = self.said(cold=True)
        self.assertIn('hostdev pci 0000:3b:00.1 is taken out', made)
        self.assertIn('interface fa:16:3e:0a:0b:0c 0000:3b:02.1', made)
        self.assertNotIn('taken out', self.said())

    def said(self, **asked):
        """Return what a dry run says."""
        return '\n'.join(snapshot.plan(
            self.process.node, flow_scene.request(**asked)).sentences())


class GivenBackTestCase(HostdevTestCase):

    def test_every_kind(self):
        self.take(self.process, cold=True)
        self.assertEqual(3, len(self.kinds()))
        self.assert_guest_untouched(self.before)

    def test_live_they_are_left_alone(self):
        self.take(self.process)
        self.assertNotIn('detachDeviceFlags', self.process.calls.names())
        self.assert_guest_untouched(self.before)

    def test_one_that_was_attached_to_the_running_guest_alone(self):
        guest = self.fake.guest
        guest.persistent = guest.persistent.replace(
            devices.MDEV.strip(), '')
        before = self.state()
        self.take(self.process, cold=True)
        self.assert_guest_untouched(before)

    def test_one_that_nova_took_out_in_between_is_not(self):
        def detach():
            self.fake.guest.persistent = self.fake.guest.persistent.replace(
                '6a5a24a2', '7b6b35b3')

        self.process.calls.then('convert', detach)
        self.fail(errors.HostdevLost)
        self.assertNotIn('mdev', ''.join(self.kinds()))
        self.assertEqual(2, len(self.kinds()))
        self.assertEqual([], self.records())

    def test_guest_that_was_rebooted_in_between_has_its_own(self):
        self.process.calls.then('convert', self.fake.hard_reboot_guest)
        # Its disk was in use while it was read.
        self.assertRaises(errors.StorageError, self.take, self.process,
                          cold=True)
        self.assertNotIn('attachDeviceFlags', self.process.calls.names())
        self.assertEqual(self.before.hostdevs, self.kinds())

    def test_guest_switched_off_in_between_gets_them_at_its_start(
            self):
        self.process.calls.then('createWithFlags', self.fake.power_off_guest)
        self.take(self.process, cold=True)
        self.assertNotIn('attachDeviceFlags', self.process.calls.names())
        self.fake.guest.create()
        self.assertEqual(3, len(self.kinds()))


class PoolTestCase(HostdevTestCase):
    """A port that a network has given out of its pool."""

    hostdevs = devices.POOL_PORT

    def test_it_comes_back_as_the_very_port_that_it_was(self):
        self.take(self.process, cold=True)
        self.assertIn('libvirt attachDeviceFlags interface hostdev 3b:10.3',
                      self.process.calls.changes())
        self.assert_guest_untouched(self.before)
        self.assertIn("type='network'", self.fake.guest.persistent.replace(
            '"', "'"))


class VdpaTestCase(HostdevTestCase):
    """A port whose file on the host is all that the guest's XML has."""

    hostdevs = devices.VDPA

    def test_it_comes_back(self):
        self.take(self.process, cold=True)
        self.assertIn('libvirt detachDeviceFlags interface vdpa '
                      '/dev/vhost-vdpa-0', self.process.calls.changes())
        self.assertEqual(1, len(self.kinds()))
        self.assert_guest_untouched(self.before)


class StuckTestCase(HostdevTestCase):

    def test_guest_refuses(self):
        self.life.refuses = True
        error = self.fail(errors.HostdevStuck)
        self.assertIn('hostdev pci 0000:3b:00.1', str(error))
        self.assertIn('refuses', str(error))
        self.assertLess(self.fake.clock.monotonic(), 5)
        self.assertNotIn('managedSave', self.process.calls.names())
        self.assert_nothing_left(self.before)

    def test_guest_does_not_answer(self):
        self.life.released_after = None
        error = self.fail(errors.HostdevStuck)
        self.assertIn('20 s', str(error))
        self.assertIn('detach_timeout', str(error))
        self.assertRegex(str(error), "give it back: echo '<hostdev .*' "
                         rf'\| virsh attach-device {fake_node.UUID} '
                         '/dev/stdin --live$')
        self.assert_nothing_left(self.before)

    def test_guest_is_switched_off_while_it_is_asked(self):
        self.life.released_after = None
        self.process.calls.then('detachDeviceFlags',
                                self.fake.power_off_guest)
        error = self.fail(errors.HostdevStuck)
        self.assertIn('stopped', str(error))
        self.assertEqual([], self.records())

    def test_save_fails(self):
        self.process.calls.fail_named('managedSave')
        self.fail(errors.ManagedSaveFailed)
        self.assert_nothing_left(self.before)

    def test_start_never_works(self):
        self.process.calls.fail_named('createWithFlags', None)
        error = self.fail(errors.RollbackIncomplete)
        self.assertIn('DetachHostdev', str(error))
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(self.before)


class LostTestCase(HostdevTestCase):

    hostdevs = devices.PCI + devices.PORT

    def assert_left_and_mended(self, word):
        error = self.fail(errors.RollbackIncomplete)
        self.assertIn(word, str(error))
        # The other one is back, and the guest runs.
        self.assertEqual(1, len(self.kinds()))
        self.assertEqual({}, self.fake.glance.stored)
        (finding,) = self.recover()
        self.assertEqual(recovery.Outcome.FAILED, finding.outcome)
        self.assertIn(word, finding.reason)
        self.life.gone.clear()
        self.life.taken.clear()
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(self.before)

    def test_device_is_gone_from_the_host(self):
        self.process.calls.then('convert', lambda: self.life.gone.add(
            self.host_address('3b')))
        self.assert_left_and_mended('hostdev pci 0000:3b:00.1')

    def host_address(self, bus):
        return f'0x{bus} 0x0000 0x1 0x00'

    def test_its_address_in_the_guest_was_taken(self):
        (device,) = [device for device in self.fake.process().world.host
                     .domain(fake_node.UUID).model().hostdevs
                     if device.mac]
        slot = device.guest_address.split(':')[2].split('.')[0]
        self.process.calls.then('convert', lambda: self.life.taken.add(
            f'0x{slot}'))
        self.assert_left_and_mended('double use of PCI Address')


class DeadOwnerTestCase(HostdevTestCase):

    hostdevs = devices.PCI

    def test_guest_that_releases_it_only_later_gets_it_back(self):
        self.life.released_after = 8
        self.die('detachDeviceFlags', flow_scene.When.AFTER, cold=True)
        self.assertEqual(self.before.hostdevs, self.kinds())

        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())

        self.assertEqual(self.before.hostdevs, self.kinds())
        self.assert_nothing_left(self.before)

    def test_guest_of_novas_that_is_elsewhere_gets_nothing(self):
        self.fake = self.make_node(fake_node.GuestSpec(
            hostdev=self.hostdevs, nova=True))
        self.fake.guest.create()
        self.die('managedSave', flow_scene.When.BEFORE, cold=True)
        self.fake.why_away = lambda uuid: 'it was evacuated'
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assertEqual((), self.kinds())

    def test_guest_of_novas_whose_record_cannot_be_read(self):
        self.fake = self.make_node(fake_node.GuestSpec(
            hostdev=self.hostdevs, nova=True))
        self.fake.guest.create()
        self.die('managedSave', flow_scene.When.BEFORE, cold=True)
        self.fake.nova_compute_runs = True
        self.assertEqual([recovery.Outcome.FAILED], self.outcomes())
        self.assertEqual((), self.kinds())
