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

"""Cold snapshots, and those of guests that have no QEMU process."""

import dataclasses
import pathlib
import typing as ty

import ddt
import libvirt

from nova_snap import units
from tests.functional import base
from tests.functional import watch
from tests.lab.guest import copy as guest_copy
from tests.lab.guest import disk as guest_disk
from tests.lab.guest import domain as guest_domain
from tests.lab import place
from tests.lab import process
from tests.lab import proof
from tests.lab import records

# Seconds for a guest to power off in order.
SHUT_DOWN_TIMEOUT = 60


@ddt.ddt
class ColdTest(base.FunctionalTest):
    """The guest stands still while its disk is read, and no longer.

    :ivar at_rest: what was seen of the last snapshot's extraction
    :ivar at_upload: and of its upload
    """

    at_rest: watch.AtRest
    at_upload: watch.AtUpload

    def _take(self, guest: guest_domain.Guest,
              **request: ty.Any) -> tuple[ty.Any, pathlib.Path]:
        """Take a snapshot and prove that it is the disk at rest."""
        self.at_rest = watch.AtRest(guest, self.folder)
        self.at_upload = watch.AtUpload(guest)
        result = self.take(guest, base.Hooks({
            'qemu_img.convert': self.at_rest,
            'images.upload': self.at_upload}), **request)
        self.assert_nothing_left(result.images[0].image_id)
        self.assertIs(False, self.at_rest.active)
        path = self.download(result.images[0].image_id)
        image_format = result.images[0].disk_format
        proof.assert_sound(path, image_format)
        proof.assert_same_content(path, image_format, self.at_rest.copy,
                                  'raw')
        records.check_sequence(proof.read_records(path, image_format))
        return result, path

    def test_running_guest(self):
        guest = self.guest(shared=True)
        seen, before = base.look(guest), guest.last_record()
        result, path = self._take(guest, cold=True)
        self.assertEqual('cold', result.plan.method)
        self.assertEqual(libvirt.VIR_DOMAIN_RUNNING, self.at_upload.state)
        self.assert_guest_untouched(guest, seen, same_process=False)
        last = records.check_sequence(proof.read_records(path, 'qcow2'))
        self.assertGreaterEqual(last, before)
        # It went on where it stood: no record twice, none left out.
        numbers = [int(number) for number
                   in guest_domain.RECORD.findall(guest.console())]
        self.assertEqual(list(range(len(numbers))), numbers)
        self.assertLess(last, numbers[-1])
        guest_copy.assert_boots(self.lab.libvirtd, path, 'qcow2',
                          records=last + 1)

    def test_paused_guest(self):
        guest = self.guest(shared=True)
        guest.domain.suspend()
        seen = base.look(guest)
        result, _ = self._take(guest, cold=True)
        self.assertEqual('cold', result.plan.method)
        self.assertEqual(libvirt.VIR_DOMAIN_PAUSED, self.at_upload.state)
        self.assert_guest_untouched(guest, seen, same_process=False)
        guest.domain.resume()
        self.assertTrue(guest.is_writing())

    @ddt.data('optional', 'requisite')
    def test_a_disc_that_is_missing_and_may_be(self, policy: str) -> None:
        """libvirt starts the guest with an empty drive."""
        disc = self.folder / 'disc.iso'
        disc.write_bytes(bytes(units.MiB))
        guest = self.guest(extra_devices=(
            f"<disk type='file' device='cdrom'><driver name='qemu' "
            f"type='raw'/><source file='{disc}' startupPolicy='{policy}'/>"
            "<target dev='hdc' bus='ide'/></disk>"))
        disc.unlink()
        result, _ = self._take(guest, cold=True)
        self.assertEqual([f'{disc} of hdc is missing: libvirt starts the '
                          'guest without it'], list(result.plan.remarks))
        self.assertTrue(guest.is_writing())

    def test_by_the_command_and_the_options(self):
        """As an operator has it: live snapshots are switched off."""
        self.options['workarounds'] = {
            'disable_libvirt_livesnapshot': 'true'}
        guest = self.guest(shared=True)
        seen = base.look(guest)
        done = self.nova_snap('image-create', guest.spec.name, 'cold',
                              '--format', 'raw')
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn('cold in', done.stdout)
        self.assert_guest_untouched(guest, seen, same_process=False)
        self.assertNotEqual(seen.qemu_id, base.look(guest).qemu_id)

    def test_block_device(self):
        """Nova has logical volumes; here it is a loop device."""
        guest = _BlockGuest.on_device(self)
        seen = base.look(guest)
        result, _ = self._take(guest)
        self.assertEqual(
            ('cold', guest.device),
            (result.plan.method, result.plan.disks[0].chain[0].path),
        )
        self.assert_guest_untouched(guest, seen, same_process=False)

    def test_switched_off_guest_over_a_block_device(self):
        guest = self.guest()
        guest.shut_down(SHUT_DOWN_TIMEOUT)
        ((below, below_format),) = guest.spec.disk.backing
        device = process.run(['losetup', '--find', '--show', '--read-only',
                              str(below)]).strip()
        self.addCleanup(process.run, ['losetup', '--detach', device])
        process.run(['qemu-img', 'rebase', '-u', '-f', 'qcow2', '-F',
                     below_format, '-b', device, str(guest.spec.disk.path)])
        seen = base.look(guest)
        result, _ = self._take(guest)
        self.assertEqual(
            ('stopped', device),
            (result.plan.method, result.plan.disks[0].chain[1].path),
        )
        self.assert_guest_untouched(guest, seen)

    def test_switched_off_guest(self):
        guest = self.guest(shared=True)
        guest.shut_down(SHUT_DOWN_TIMEOUT)
        seen = base.look(guest)
        result, path = self._take(guest)
        self.assertEqual('stopped', result.plan.method)
        self.assert_guest_untouched(guest, seen)
        last = records.check_sequence(proof.read_records(path, 'qcow2'))
        # It is switched off between a record and the word of it, at times.
        self.assertIn(last - guest.last_record(), (0, 1))
        self.assertTrue(proof.ext4_is_clean(path, 'qcow2'))

    def test_suspended_guest(self):
        """Nova's SUSPENDED: its managed-save image is not ours."""
        guest = self.guest(shared=True)
        guest.domain.managedSave(0)
        saved = _managed_save(guest)
        before, seen = saved.stat(), base.look(guest)
        self.assertTrue(seen.managed_save)
        result, _ = self._take(guest)
        self.assertEqual('stopped', result.plan.method)
        self.assert_guest_untouched(guest, seen)
        after = saved.stat()
        self.assertEqual((before.st_ino, before.st_mtime_ns),
                         (after.st_ino, after.st_mtime_ns))
        guest.start()
        self.assertTrue(guest.is_writing())
        self.assertEqual(seen.boots, base.look(guest).boots)


class HeldTestCase(base.FunctionalTest):
    """A backup job holds the disk, and the guest goes on at once."""

    def setUp(self):
        super().setUp()
        self.options['nova_snap']['upload'] = 'stream'

    def taken(self, guest):
        """Take a snapshot, and prove that it is of the moment of the save.

        :returns: the state of the guest when the upload began
        """
        seen, instant = base.look(guest), watch.Instant(guest)
        at_upload = watch.AtUpload(guest)
        result = self.take(guest, base.Hooks({
            'backup_job.begin': instant, 'images.upload': at_upload}),
            cold=True)
        self.assertEqual('cold', result.plan.method)
        self.assertTrue(result.plan.is_streamed)
        self.assert_guest_untouched(guest, seen, same_process=False)
        (image,) = result.images
        self.assert_nothing_left(image.image_id)
        path = self.download(image.image_id)
        proof.assert_sound(path, image.disk_format)
        instant.check(path, image.disk_format)
        return at_upload.state

    def test_the_guest_writes_while_its_disk_is_sent(self):
        guest = self.guest(shared=True)
        self.assertEqual(libvirt.VIR_DOMAIN_RUNNING, self.taken(guest))
        self.assertTrue(guest.is_writing())

    def test_a_paused_guest_stays_paused(self):
        guest = self.guest(shared=True)
        guest.domain.suspend()
        self.assertEqual(libvirt.VIR_DOMAIN_PAUSED, self.taken(guest))
        guest.domain.resume()
        self.assertTrue(guest.is_writing())

    def test_libvirt_finds_the_agent_of_a_guest_that_goes_on(self):
        """It would not, of one that a backup job holds."""
        guest = self.guest(agent='run')
        seen = base.look(guest)
        self.assertFalse(self.take(guest, cold=True).plan.is_held)
        # The agent says that it is thawed.
        self.assert_guest_untouched(guest, seen, same_process=False)

    def test_a_block_device(self):
        guest = _BlockGuest.on_device(self)
        self.assertEqual(libvirt.VIR_DOMAIN_RUNNING, self.taken(guest))


class _BlockGuest(guest_domain.Guest):
    """A guest whose root disk libvirt knows as a block device."""

    device = ''

    @classmethod
    def on_device(cls, test: base.FunctionalTest) -> '_BlockGuest':
        """Boot one on a loop device, until the end of a test."""
        guest = cls.create(test.lab.libvirtd, 'raw')
        guest.device = process.run(['losetup', '--find', '--show',
                                    str(guest.spec.disk.path)]).strip()
        test.addCleanup(process.run, ['losetup', '--detach', guest.device])
        test.addCleanup(guest.remove)
        guest.boot()
        return guest

    @property
    def xml(self) -> str:
        """The XML that ``define`` gives to libvirt."""
        return super().xml.replace(
            "<disk type='file'", "<disk type='block'").replace(
            f'<source file="{self.spec.disk.path}"',
            f'<source dev="{self.device}"')


def _managed_save(guest: guest_domain.Guest) -> pathlib.Path:
    """Name the file in which libvirt keeps a guest's memory."""
    return (guest.libvirtd.folder / 'lib' / 'qemu' / 'save'
            / f'{guest.spec.name}.save')


class ClonedTestCase(base.FunctionalTest):
    """On a file system whose files can share their blocks."""

    def setUp(self):
        super().setUp()
        path = self.file_system('clones', units.GiB, 'xfs').path
        self.snapshots = place.make_dir(path / 'snapshots')
        self.options['libvirt']['snapshots_directory'] = str(self.snapshots)
        self.options['nova_snap'].update(upload='stream', space_reserve='0')
        self.running = guest_domain.Guest.create(self.lab.libvirtd)
        self.addCleanup(self.running.remove)
        self.running.spec = dataclasses.replace(
            self.running.spec, disk=guest_disk.make_disk(
                path / 'instance', 'qcow2-on-raw-base'))
        self.running.boot()

    def test_the_guest_writes_while_its_disk_is_sent(self):
        guest = self.running
        seen, before = base.look(guest), guest.last_record()
        at_upload = watch.AtUpload(guest)
        result = self.take(guest, base.Hooks({'images.upload': at_upload}),
                           cold=True)
        self.assertEqual('cold', result.plan.method)
        self.assertTrue(result.plan.is_streamed)
        self.assertEqual(libvirt.VIR_DOMAIN_RUNNING, at_upload.state)
        self.assert_guest_untouched(guest, seen, same_process=False)
        self.assert_nothing_left(result.images[0].image_id)
        path = self.download(result.images[0].image_id)
        proof.assert_sound(path, 'qcow2')
        last = records.check_sequence(proof.read_records(path, 'qcow2'))
        self.assertGreaterEqual(last, before)
        self.assertLess(last, guest.last_record())
