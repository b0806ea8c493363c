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

"""The root disk's chain changes while a snapshot is prepared."""

import os
import shutil

import ddt
import libvirt

from nova_snap import errors
from nova_snap import units
from tests.functional import base
from tests.lab import process

# "virsh snapshot-create-as --disk-only --no-metadata --diskspec".
SNAPSHOT = ("<domainsnapshot><disks><disk name='vda' snapshot='external'>"
            "<source file='{}'/></disk></disks></domainsnapshot>")
DISK_ONLY = (libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
             | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA)

# Seconds for a block commit of a layer of some KiB.
COMMIT_TIMEOUT = 60


def take_snapshot(guest):
    guest.domain.snapshotCreateXML(
        SNAPSHOT.format(guest.folder / 'overlay'), DISK_ONLY)


def commit_below(guest):
    """Merge the middle layer into the base, as "virsh blockcommit"."""
    (middle, _), (below, _) = guest.spec.disk.backing
    guest.domain.blockCommit('vda', str(below), str(middle))
    process.wait_until(lambda: not guest.domain.blockJobInfo('vda'),
                       timeout=COMMIT_TIMEOUT, what='end of the commit')


def commit_at_rest(guest):
    """Do the same to a guest that is off."""
    (middle, _), (below, below_format) = guest.spec.disk.backing
    process.run(['qemu-img', 'commit', '-q', '-f', 'qcow2', str(middle)])
    process.run(['qemu-img', 'rebase', '-u', '-f', 'qcow2', '-F',
                 below_format, '-b', str(below), str(guest.spec.disk.path)])


def replace(path):
    """Put another file in the place of one, and return where it is."""
    other, kept = path.with_suffix('.other'), path.with_suffix('.kept')
    shutil.copyfile(path, other)
    other.chmod(0o644)
    path.rename(kept)
    other.rename(path)
    return kept


class ReplacedTest(base.FunctionalTest):

    def refused(self, guest, path, **asked):
        error = self.assertRaises(errors.Unsupported, self.take, guest,
                                  **asked)
        self.assertIn(f'does not have the backing file {path} open',
                      str(error))

    def move_base(self, guest):
        """Put the base on another file system than what is above it."""
        (middle, _), (path, kind) = guest.spec.disk.backing
        target = self.file_system('base', units.GiB).path / path.name
        shutil.copyfile(path, target)
        path.unlink()
        process.run(['qemu-img', 'rebase', '-u', '-f', 'qcow2', '-F', kind,
                     '-b', str(target), str(middle)])
        return target

    def test_a_file_that_is_not_the_one_that_the_guest_reads(self):
        guest = self.guest('qcow2-chain-of-3', boot=False)
        base_path = self.move_base(guest)
        guest.boot()
        kept = replace(base_path)
        self.refused(guest, base_path)
        kept.rename(base_path)
        (middle, _), _ = guest.spec.disk.backing
        replace(middle)
        for asked in {}, {'cold': True}:
            self.refused(guest, middle, **asked)
        self.assert_nothing_left()
        guest.domain.destroy()
        # Off it has no other.
        made = self.take(guest)
        self.assert_nothing_left(made.images[0].image_id)

    def test_a_disk_that_has_lost_its_end(self):
        guest = self.guest('qcow2-chain-of-3', boot=False).define()
        path = guest.spec.disk.path
        process.run(['qemu-io', '-f', 'qcow2', '-c',
                     f'write -P 1 0 {units.MiB}', str(path)])
        os.truncate(path, path.stat().st_size - units.MiB // 2)
        error = self.assertRaises(errors.Unsupported, self.take, guest)
        self.assertIn(f'{path} ends before data', str(error))
        self.assert_nothing_left()


@ddt.ddt
class ChainChangedTest(base.FunctionalTest):

    @ddt.data((take_snapshot, {}), (commit_below, {}),
              (take_snapshot, {'cold': True}), (commit_below, {'cold': True}))
    @ddt.unpack
    def test_of_a_running_guest(self, act, asked):
        guest = self.guest('qcow2-chain-of-3')
        before = self._refuse(guest, act, **asked)
        self.assert_guest_untouched(guest, before,
                                    same_process='cold' not in asked)
        # What the other client made is whole, and can be snapshotted.
        made = self.take(guest, **asked)
        self.assert_nothing_left(made.images[0].image_id)

    @ddt.data(take_snapshot, commit_at_rest)
    def test_of_a_guest_that_is_off(self, act):
        guest = self.guest('qcow2-chain-of-3', boot=False).define()
        before = self._refuse(guest, act)
        self.assert_guest_untouched(guest, before)

    def _refuse(self, guest, act, **asked):
        """Act when the plan is made, and see the snapshot fail.

        :returns: how the guest looked after the act
        """
        seen = []

        def make_scratch(call, *args):
            act(guest)
            seen.append(base.look(guest))
            return call()

        error = self.assertRaises(
            errors.StorageError, self.take, guest,
            base.Hooks({'files.make_scratch': make_scratch}), **asked)
        self.assertIn('was changed', str(error))
        self.assert_nothing_left()
        (before,) = seen
        return before
