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

"""A backing file whose format no header names, as Nova had before 21."""

import pathlib

import ddt

from nova_snap import errors
from tests.fakes import disk as fake_disk
from tests.flow import scene as flow_scene


@ddt.ddt
class UnnamedFormatTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.cache = pathlib.Path(self.fake.settings.image_cache)
        self.cache.mkdir(parents=True, mode=0o755)
        self.cache.chmod(0o755)
        self.base = self.cache / '3f1c7be20a9d4c55'
        pathlib.Path(self.fake.disks[1]).rename(self.base)
        self.base.chmod(0o644)
        self.name(self.base)

    def name(self, base):
        """Let the disk name a backing file, and no format."""
        fake_disk.rebase(self.fake.disks[0], str(base), None)
        self.fake.disks[1] = str(base)

    def rewrite(self, **changes):
        base = fake_disk.DiskFile.load(str(self.base))
        for field, value in changes.items():
            setattr(base, field, value)
        base.save(str(self.base))

    def refuse(self):
        before = self.state()
        error = self.assertRaises(errors.Unsupported, self.take)
        self.assertIn(f'the format of the backing file {self.fake.disks[1]} '
                      'is not named', str(error))
        self.assertIn('qemu-img rebase -u', str(error))
        self.assert_nothing_left(before)

    @ddt.data('raw', 'qcow2')
    def test_in_the_image_cache_it_is_what_it_shows(self, kind):
        self.rewrite(format=kind)
        before = self.state()
        process = self.fake.process()
        result = self.take(process)
        [converted] = [call.words for call in process.calls.made
                       if call.name == 'convert']
        self.assertIn(f'{self.base.name}:{kind}', converted)
        self.assertEqual(
            [f'no header names the format of {self.base}: it lies in the '
             f'image cache of Nova, and is taken as {kind}, as it begins'],
            list(result.plan.remarks))
        self.assertEqual(self.fake.guest.content(), self.image().clusters)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    def test_it_is_streamed_too(self):
        self.fake.set(upload='stream')
        self.take()
        self.assert_all_or_nothing()

    def test_an_image_cache_may_be_behind_a_link(self):
        link = self.fake.folder / 'link'
        link.symlink_to(self.cache.parent)
        self.fake.set(image_cache=str(link / '_base'))
        self.take()
        self.name(link / '_base' / self.base.name)
        self.take(image_id='22222222-2222-4222-8222-222222222222')

    @ddt.data(False, True)
    def test_of_a_guest_that_runs_libvirt_names_it(self, cold):
        self.rewrite(format='qcow2')
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        result = self.take(process, cold=cold)
        self.assertEqual(['qcow2', 'qcow2'], [
            layer.format for layer in result.plan.disks[0].chain])
        [converted] = [call.words for call in process.calls.made
                       if call.name == 'convert']
        self.assertIn(f'{self.base.name}:qcow2', converted)
        self.assertEqual([], list(result.plan.remarks))
        self.assert_guest_untouched(before)

    def test_elsewhere_it_is_refused(self):
        for where in ('elsewhere', 'instances/_base/below',
                      'instances/_base-2'):
            folder = self.fake.folder / where
            folder.mkdir()
            self.base = self.base.rename(folder / 'base')
            self.name(self.base)
            self.refuse()

    def test_a_link_out_of_the_image_cache_is_refused(self):
        target = self.base.rename(self.fake.folder / 'elsewhere')
        self.base.symlink_to(target)
        self.refuse()

    @ddt.data(('cache', 0o775), ('cache', 0o757), ('base', 0o664),
              ('base', 0o646))
    @ddt.unpack
    def test_what_others_may_write_to_is_refused(self, what, mode):
        getattr(self, what).chmod(mode)
        self.refuse()

    @ddt.named_data(
        ['a backing file', {'backing': '/etc/shadow'}],
        ['its backing file with a format',
         {'backing': '/etc/shadow', 'backing_format': 'raw'}],
        ['its data elsewhere', {'data_file': '/etc/shadow'}],
    )
    def test_refused_is_one_that_names(self, names):
        self.rewrite(format='qcow2', **names)
        self.refuse()

    def test_one_that_is_gone_is_refused(self):
        self.base.unlink()
        before = self.state()
        self.assertRaises(errors.Refused, self.take)
        self.assert_nothing_left(before)
