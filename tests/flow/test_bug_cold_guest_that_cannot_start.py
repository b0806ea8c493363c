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

"""A guest that could be saved, and then not be started again."""

import ddt
import fixtures

from nova_snap import errors
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

SECRET = '5bb2a09c-6a4c-4bd6-9b9e-6d3a6a2f0b51'
TPM = ("<tpm model='tpm-crb'><backend type='emulator' version='2.0' "
       f"persistent_state='yes'><encryption secret='{SECRET}'/></backend>"
       '</tpm>')


class ColdTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()

    def refuse(self, *words):
        process = self.fake.process()
        error = self.assertRaises(errors.Unsupported, self.take, process,
                                  cold=True)
        self.assertEqual([], process.calls.changes())
        for word in (*words, 'take it live'):
            self.assertIn(word, str(error))
        self.assert_nothing_left(self.before)


class SecretTestCase(ColdTestCase):
    """Nova has undefined the secret of its TPM after the start."""

    spec = fake_node.GuestSpec(tpm=TPM)

    def test_without_its_secret_it_is_not_saved(self):
        self.refuse('its TPM', SECRET)

    def test_live_it_is_taken(self):
        self.take()
        self.assert_all_or_nothing()

    def test_with_its_secret_it_is_saved(self):
        self.fake.libvirtd.secrets.add(SECRET)
        self.take(cold=True)
        self.assert_all_or_nothing()

    def test_a_secret_that_is_not_known_to_be_there_is_not_there(self):
        process = self.fake.process()
        process.calls.fail_named('secretLookupByUUIDString')
        error = self.assertRaises(errors.Unsupported, self.take, process,
                                  cold=True)
        self.assertIn('does not say', str(error))


class FileTestCase(ColdTestCase):
    """A file is gone that its QEMU process has open."""

    def test_without_a_layer_of_its_disk_it_is_not_saved(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.files.Files.is_missing',
            lambda files, path: path.endswith('base1')))
        self.refuse('base1 of vda is missing')


@ddt.ddt
class DiscTestCase(flow_scene.FlowTestCase):
    """The file of a disc is gone that its QEMU process has open."""

    def start(self, policy):
        self.disc = self.fake.folder / 'disc.iso'
        self.disc.touch()
        self.fake.guest = self.fake.libvirtd.define(self.fake.xml.replace(
            '</devices>',
            f"<disk type='file' device='cdrom'><source file='{self.disc}'"
            f"{policy}/><target dev='sda' bus='sata'/></disk></devices>"))
        self.fake.guest.create()
        self.disc.unlink()

    @ddt.data('optional', 'requisite')
    def test_what_libvirt_starts_without_is_no_reason_to_refuse(self, policy):
        self.start(f" startupPolicy='{policy}'")
        result = self.take(cold=True)
        self.assertEqual([f'{self.disc} of sda is missing: libvirt starts '
                          'the guest without it'], list(result.plan.remarks))
        self.assertEqual(2, self.fake.guest.starts)
        self.assert_all_or_nothing()

    def test_live_nothing_is_left_out(self):
        self.start(" startupPolicy='optional'")
        self.assertEqual((), self.take().plan.remarks)

    @ddt.data('', " startupPolicy='mandatory'")
    def test_without_one_that_must_be_there_it_is_not_saved(self, policy):
        self.start(policy)
        before = self.state()
        error = self.assertRaises(errors.Unsupported, self.take, cold=True)
        self.assertIn(f'{self.disc} of sda is missing', str(error))
        self.assert_nothing_left(before)
