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

"""Refusals before anything is done: the reason, the remedy, the exit code."""

import contextlib
import os
import re
import uuid

import ddt
import libvirt

from nova_snap import units
from tests.functional import base
from tests.functional import refusals
from tests.lab.guest import domain as guest_domain
from tests.lab import process

FAILED, USAGE, REFUSED = refusals.FAILED, refusals.USAGE, refusals.REFUSED

# Bytes per second at which a job lasts until a test has seen it.
SLOWLY = 2 * units.MiB

# In the XML of the lab's guest.
ROOT_DISK = re.compile(r"<disk type='file'.*?</disk>", re.DOTALL)
SOURCE = re.compile(r'<source (file=[^/].*)/>')

NETWORK_DISK = """<disk type='network' device='disk'>
  <driver name='qemu' type='raw'/>
  <source protocol='nbd' name='disk'><host name='127.0.0.1'/></source>
  <target dev='vda' bus='virtio'/></disk>"""
CDROM = """<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>
  <target dev='hda' bus='ide'/></disk>"""
ENCRYPTION = """<encryption format='luks'>
  <secret type='passphrase' uuid='5a4c6b0e-6d4f-4a43-9c0c-6d5cf4d8a6f1'/>
</encryption>"""


@ddt.ddt
class RunningGuestTestCase(refusals.RefusalTest):
    """Nothing is wrong with the guest."""

    def setUp(self):
        super().setUp()
        self.running = self.guest(shared=True)

    def refuse(self, code, *arguments, says):
        return super().refuse(code, self.running, *arguments, says=says)

    def test_an_unknown_instance(self):
        ended = self.child('image-create', 'unknown', 'refused')
        self.assert_no(REFUSED, ended, 'No instance unknown',
                       self.lab.libvirtd.uri, '"nova-snap list"')
        self.assert_nothing_left()

    def test_an_unknown_uuid(self):
        unknown = str(uuid.uuid4())
        ended = self.child('image-create', unknown, 'refused')
        self.assert_no(REFUSED, ended, f'No instance {unknown}')

    @ddt.data(
        (('--quiesce', 'want'), ('[nova_snap]space_reserve',)),
        (('--cold',), ('put snapshots_directory elsewhere',)))
    @ddt.unpack
    def test_no_room(self, arguments, says):
        with self.lab.libvirtd.small_file_system('small', 16 * units.MiB) as (
                path):
            self.options['libvirt']['snapshots_directory'] = str(path)
            ended = self.refuse(
                REFUSED, *arguments,
                says=(f'{path} has 16.0 MiB free', 'missing', *says))
            self.assertEqual([], os.listdir(path))
        self.assertNotIn('Uploading', ended.stderr)

    def test_snapshots_directory_is_missing(self):
        missing = self.folder / 'missing'
        self.options['libvirt']['snapshots_directory'] = str(missing)
        self.refuse(REFUSED, says=(
            f'[libvirt]snapshots_directory {missing} is missing',
            f'install -d -m 0755 {missing}'))
        self.assertFalse(missing.exists())

    def test_snapshots_directory_is_closed_to_qemu(self):
        self.snapshots.chmod(0o700)
        self.refuse(REFUSED, says=(f'cannot enter {self.snapshots}',
                                   f'chmod o+x {self.snapshots}'))

    def test_a_folder_above_is_closed_to_qemu(self):
        self.folder.chmod(0o700)
        self.refuse(REFUSED, says=(f'cannot enter {self.folder},',))

    @ddt.data((), ('--cold',))
    def test_a_block_job_of_another_client(self, arguments):
        copy = self.folder / 'copy'
        domain = self.running.domain
        domain.blockCopy(
            'vda', f"<disk type='file'><source file='{copy}'/>"
                   "<driver type='qcow2'/></disk>",
            {libvirt.VIR_DOMAIN_BLOCK_COPY_BANDWIDTH: SLOWLY},
            libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB)
        self.addCleanup(self._end_copy)
        ended = self.child('image-create', self.running.spec.name, 'refused',
                           *arguments)
        self.assert_no(REFUSED, ended, 'is busy', 'block job (copy)', 'vda',
                       'not ours to abort')
        self.assertIn(str(copy), domain.XMLDesc())
        self.assertTrue(domain.blockJobInfo('vda'))
        self.assertTrue(self.running.is_writing())
        self.assert_nothing_left()
        # What it says is done, and helps.
        command = re.search(r'"virsh (blockjob [^"]+)"', ended.stderr)[1]
        process.run(['virsh', '-c', self.lab.libvirtd.uri, *command.split()])
        self.assertFalse(domain.blockJobInfo('vda'))

    def _end_copy(self):
        with contextlib.suppress(libvirt.libvirtError):
            self.running.domain.blockJobAbort('vda')

    def test_a_paused_guest_cannot_freeze(self):
        self.running.domain.suspend()
        self.addCleanup(self.running.domain.resume)
        self.refuse(REFUSED, '--quiesce', 'require',
                    says=('is paused and its agent cannot answer',))

    def test_a_guest_without_an_agent_channel_cannot_freeze(self):
        self.refuse(REFUSED, '--quiesce', 'require', says=(
            'no guest agent channel', 'hw_qemu_guest_agent'))

    def test_a_container_has_no_disk_image(self):
        self.options['libvirt']['virt_type'] = 'lxc'
        self.refuse(REFUSED, says=('container (lxc)',
                                   'copy its root directory'))

    # The journal

    def test_the_journal_is_no_directory(self):
        self.journal.write_text('in the way')
        self.refuse_without_journal(FAILED, 'cannot be made')
        self.journal.unlink()

    def test_the_journal_cannot_be_written(self):
        with self.lab.libvirtd.small_file_system('journal', units.MiB) as (
                path):
            process.run(['mount', '-o', 'remount,ro', str(path)])
            self.options['nova_snap']['journal_dir'] = str(path / 'journal')
            self.refuse_without_journal(FAILED, 'Read-only file system')

    def test_the_disk_of_the_journal_is_full(self):
        with self.full_file_system() as path:
            self.options['nova_snap']['journal_dir'] = str(path / 'journal')
            self.refuse_without_journal(FAILED, 'No space left on device')

    def refuse_without_journal(self, code, reason):
        self.refuse(code, says=(reason, '[nova_snap]journal_dir'))

    @contextlib.contextmanager
    def full_file_system(self):
        """Yield a folder in which no byte can be written."""
        with self.lab.libvirtd.small_file_system('full', units.MiB) as path:
            refusals.fill(path)
            yield path

    # Options

    @ddt.data(
        ('nova_snap', 'live_method', 'fast'),
        ('nova_snap', 'ready_timeout', 'never'),
        ('nova_snap', 'bandwidth', 'unlimited'),
        ('nova_snap', 'verify_upload', 'perhaps'),
        ('nova_snap', 'journal_dir', 'relative'),
        ('nova_snap', 'auth_type', 'wishful'),
        ('libvirt', 'snapshot_image_format', 'iso'),
        ('libvirt', 'snapshots_directory', 'relative'),
        ('libvirt', 'virt_type', 'abacus'),
        ('workarounds', 'disable_libvirt_livesnapshot', 'perhaps'),
        ('glance', 'num_retries', 'some'))
    @ddt.unpack
    def test_a_bad_option(self, group, option, value):
        self.options.setdefault(group, {})[option] = value
        self.refuse(USAGE, says=(f'[{group}]{option}', value))

    def test_a_config_file_that_is_not_there(self):
        ended = self.child('--config-file', str(self.folder / 'absent'),
                           'status')
        self.assert_no(USAGE, ended, '--config-file', 'absent')

    # libvirt

    def test_libvirtd_is_down(self):
        before = base.look(self.running)
        socket = self.folder / 'libvirt-sock'
        self.options['libvirt']['connection_uri'] = (
            f'qemu+unix:///system?socket={socket}')
        for arguments in (('image-create', self.running.spec.name, 'refused'),
                          ('list',), ('check',)):
            ended = self.child(*arguments)
            self.assertIn(ended.code, (FAILED, REFUSED))
            for words in (str(socket), 'Does libvirtd run',
                          '[libvirt]connection_uri'):
                self.assertIn(words, ended.stdout + ended.stderr)
            self.assertNotIn('Traceback', ended.stderr)
        self.assert_guest_untouched(self.running, before)
        self.assert_nothing_left()


@ddt.ddt
class DiskTestCase(refusals.RefusalTest):
    """Guests that are off, with root disks that cannot be read."""

    def defined(self, change=lambda xml: xml, **facts):
        """Define a guest whose XML was changed; it is not started."""
        guest = self.guest(boot=False, **facts)
        with self.lab.libvirtd.connection() as connection:
            connection.defineXML(change(guest.xml))
        return guest

    @ddt.data(
        ('none at all', lambda xml: ROOT_DISK.sub('', xml), 'it has no disk'),
        ('a CD drive alone', lambda xml: ROOT_DISK.sub(CDROM, xml),
         'it has no disk'),
        ('on the network', lambda xml: ROOT_DISK.sub(NETWORK_DISK, xml),
         'of type network (nbd); files, block devices'),
        ('encrypted', lambda xml: SOURCE.sub(
            rf'<source \1>{ENCRYPTION}</source>', xml),
         'is encrypted'),
        ('of a strange format', lambda xml: xml.replace(
            "type='qcow2'", "type='vmdk'"),
         'its root disk vda has the format vmdk'))
    @ddt.unpack
    def test_a_disk_that_is(self, _name, change, says):
        self.refuse(REFUSED, self.defined(change), says=(says,))

    def test_a_disk_that_is_a_volume(self):
        guest = self.defined(
            lambda xml: xml.replace('nova:root type="image"',
                                    'nova:root type="volume"'),
            nova=guest_domain.NovaMetadata())
        self.refuse(REFUSED, guest, says=(
            'Cinder volume',
            f'"openstack server image create {guest.spec.uuid}"'))

    def test_a_disk_that_is_gone(self):
        guest = self.defined()
        guest.spec.disk.path.unlink()
        self.refuse(REFUSED, guest, says=(str(guest.spec.disk.path),
                                          'No such file'))

    def test_a_disk_that_is_no_disk(self):
        guest = self.defined()
        guest.spec.disk.path.write_bytes(bytes(units.MiB))
        self.refuse(FAILED, guest, says=(str(guest.spec.disk.path),
                                         'not in qcow2 format'))

    def test_a_backing_file_that_is_gone(self):
        guest = self.defined()
        backing, _ = guest.spec.disk.backing[0]
        backing.unlink()
        self.refuse(REFUSED, guest, says=(str(backing), 'No such file'))
