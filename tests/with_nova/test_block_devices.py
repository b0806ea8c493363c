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

"""Root disks on block devices, which nova-compute cannot open itself."""

import json
import os
import pathlib
import subprocess
import sys
from unittest import mock

import ddt
import fixtures
import nova.privsep.path
from oslotest import base

from nova_snap import errors
from nova_snap import units
from tests.fakes import calls as fake_calls
from tests.fakes import node as fake_node
from tests.with_nova import scene
from tests.with_nova import unprivileged

IMAGE = scene.IMAGE


@ddt.ddt
class BlockDeviceTestCase(scene.SceneTestCase):
    """A logical volume, as Nova takes one for it."""

    spec = fake_node.GuestSpec(nova=True, driver_format='raw', layers=1)

    def setUp(self):
        super().setUp()
        self.device = self.fake.disks[0]
        self.put_on_lvm()
        delegated = mock.Mock()
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.snapshot', delegated))
        self.addCleanup(delegated.assert_not_called)
        self.given = []
        chown = nova.privsep.path.chown
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova.privsep.path.chown', lambda path, **kwargs: (
                self.given.append(path), chown(path, **kwargs))))
        # This process cannot open the device.
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova_snap.host.files.Files.allocated_bytes', self.refuse))
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova_snap.host.files.Files.first_bytes', self.refuse))

    def refuse(self, files, path):
        raise errors.StorageError(reason=f'{path}: Permission denied')

    def assert_done(self, *, running=True):
        self.assertEqual('active', self.glance.images[IMAGE]['status'])
        self.assertEqual('raw', self.glance.images[IMAGE]['disk_format'])
        self.assert_guest_whole(running=running)
        self.assert_settled()

    def converted(self):
        [words] = [call.words for call in self.calls.made
                   if call.name == 'convert']
        return words

    @ddt.data('rebase', 'copy')
    def test_one_that_runs_is_taken_cold(self, live_method):
        self.flags(live_method=live_method, group='nova_snap')
        self.image_create(self.start_manager())
        self.assertIn('managedSave', self.calls.names())
        self.assertEqual('disk:raw image-vda:raw', self.converted())
        self.assertEqual(['image-vda'],
                         [path.rpartition('/')[2] for path in self.given])
        self.assert_done()

    @ddt.data('file', 'stream')
    def test_one_that_is_off_is_read_as_it_is(self, upload):
        self.flags(upload=upload, group='nova_snap')
        self.guest.destroy()
        self.image_create(self.start_manager())
        self.assertEqual('disk:raw image-vda:raw', self.converted())
        self.assert_done(running=False)

    def test_a_conversion_that_fails_as_root(self):
        self.calls.fail_named('convert')
        self.assertRaises(scene.exception.NovaException, self.snapshot,
                          self.start_driver())
        self.assert_guest_whole()
        self.assert_settled()

    def test_a_service_that_stops_while_it_is_converted(self):
        driver = self.start_driver()
        self.calls.then('convert', driver._snap.work.stop,
                        fake_calls.When.BEFORE)
        self.assertRaises(scene.exception.NovaException, self.snapshot,
                          driver)
        self.assert_guest_whole()
        self.assert_settled()


class UnprivilegedTestCase(base.BaseTestCase):
    """Through Nova's privileged daemon, as another user than root."""

    def test_what_it_cannot_open_is_read(self):
        if os.geteuid() != 0:
            self.skipTest('only root makes a loop device')
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        file = folder / 'device'
        file.write_bytes(os.urandom(16 * units.MiB))
        made = subprocess.run(['losetup', '--find', '--show', str(file)],
                              capture_output=True, text=True)
        if made.returncode:
            self.skipTest(f'there are no loop devices: {made.stderr}')
        device = made.stdout.strip()
        self.addCleanup(subprocess.run, ['losetup', '--detach', device],
                        check=True)
        for path in (folder, *folder.parents[:-2]):
            os.chmod(path, 0o711)
        os.chown(folder, unprivileged.USER, unprivileged.USER)
        ended = subprocess.run(
            [sys.executable, '-m', 'tests.with_nova.unprivileged', device,
             str(folder)], capture_output=True, text=True,
            timeout=scene.PROCESS_SECONDS)
        self.assertEqual(
            ['closed', file.read_bytes()[:4].hex(), str(16 * units.MiB),
             'given up False', 'no block device',
             'neither a file nor a block device'],
            json.loads(ended.stdout.splitlines()[-1]), ended.stderr)
