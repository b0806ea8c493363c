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

from lxml import etree
from oslotest import base

from nova_snap.model import secret as secret_model
from tests.unit import data

# :source: libvirt docs/formatdomain.rst
XML = """
<domain><devices>
  <disk type='file' device='disk'>
    <source file='/srv/luks.qcow2'>
      <encryption format='luks'><secret type='passphrase' uuid='a'/>
      </encryption>
    </source>
    <target dev='vda' bus='virtio'/>
  </disk>
  <disk type='network' device='disk'>
    <source protocol='rbd' name='vms/root'/>
    <auth username='cinder'><secret type='ceph' usage='client'/></auth>
    <target dev='vdb' bus='virtio'/>
  </disk>
  <tpm model='tpm-crb'>
    <backend type='emulator' version='2.0'><encryption secret='b'/></backend>
  </tpm>
</devices></domain>"""


class FindTestCase(base.BaseTestCase):

    def test_those_of_tpm_and_disks_are_found(self):
        self.assertEqual(
            [secret_model.Secret('its TPM', 'b', 'vtpm'),
             secret_model.Secret('its disk vda', 'a'),
             secret_model.Secret('its disk vdb', '', 'ceph', 'client')],
            list(secret_model.find(etree.fromstring(XML))))

    def test_one_is_named_as_its_owner_knows_it(self):
        self.assertEqual(['b', 'a', 'for ceph client'], [
            str(found) for found in secret_model.find(etree.fromstring(XML))])

    def test_most_guests_have_none(self):
        self.assertEqual((), data.domain('agent-connected.live').secrets)
