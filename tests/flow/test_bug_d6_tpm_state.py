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

"""An undefine drops TPM state, or NVRAM, that it is not told to keep.

:source: bugs.launchpad.net/nova/+bug/2118888, 1633447, 2131730
"""

import ddt

from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

VOLATILE = ("<tpm model='tpm-crb'><backend type='emulator' version='2.0'/>"
            '</tpm>')
PERSISTENT = ("<tpm model='tpm-crb'><backend type='emulator' version='2.0' "
              "persistent_state='yes'/></tpm>")
NVRAM = '<nvram>/var/lib/libvirt/qemu/nvram/guest.fd</nvram>'


@ddt.ddt
class TpmTestCase(flow_scene.FlowTestCase):

    def take_with(self, **spec):
        self.fake = self.make_node(fake_node.GuestSpec(**spec))
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        result = self.take(process)
        self.assert_guest_untouched(before)
        self.assertFalse(self.fake.guest.has_lost_tpm)
        self.assertFalse(self.fake.guest.has_lost_nvram)
        return process.calls.of('libvirt'), result

    @ddt.data(8_000_000, 8_009_000, 9_000_000)
    def test_volatile_tpm_is_never_undefined(self, version):
        self.fake.libvirtd.version = version
        calls, result = self.take_with(tpm=VOLATILE)
        self.assertEqual(
            ['blockCopy vda delta.qcow2 0 SHALLOW|REUSE_EXT|TRANSIENT_JOB',
             'blockJobAbort vda ASYNC'], calls)
        self.assertIn('TPM', ' '.join(result.plan.remarks))

    def test_persistent_tpm_is_kept(self):
        calls, _result = self.take_with(tpm=PERSISTENT)
        self.assertIn('undefineFlags KEEP_NVRAM|KEEP_TPM', calls)

    def test_nvram_is_kept(self):
        calls, _result = self.take_with(nvram=NVRAM)
        self.assertIn('undefineFlags KEEP_NVRAM|KEEP_TPM', calls)
