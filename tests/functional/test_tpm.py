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

"""A guest with an encrypted TPM, as Nova makes it.

Nova defines a secret of libvirt's, starts the guest, and undefines the secret
again: without it a guest that was saved can never start.
"""

import uuid as uuid_module

import libvirt

from nova_snap import errors
from tests.functional import base

# :source: nova/virt/libvirt/config.py LibvirtConfigGuestVTPM,
#     LibvirtConfigSecret; nova/virt/libvirt/host.py create_secret
TPM = ("<tpm model='tpm-crb'><backend type='emulator' version='2.0'>"
       "<encryption secret='{}'/></backend></tpm>")
SECRET = ("<secret ephemeral='yes' private='yes'><uuid>{uuid}</uuid>"
          "<usage type='vtpm'><name>{uuid}</name></usage></secret>")
PASSPHRASE = b'a passphrase of the key manager'
STATE = 'lib/swtpm/{}/tpm2'


class EncryptedTpmTestCase(base.FunctionalTest):

    # One guest for all, and so one secret.
    secret = str(uuid_module.uuid4())

    def setUp(self):
        super().setUp()
        self.define_secret()
        self.addCleanup(self.undefine_secret)
        self.running = self.guest(
            shared=True, extra_devices=TPM.format(self.secret))
        self.before = base.look(self.running)
        self.state = self.lab.libvirtd.folder / STATE.format(
            self.running.spec.uuid)

    def define_secret(self):
        with self.lab.libvirtd.connection() as connection:
            connection.secretDefineXML(
                SECRET.format(uuid=self.secret)).setValue(PASSPHRASE)

    def undefine_secret(self):
        with self.lab.libvirtd.connection() as connection:
            for secret in connection.listAllSecrets():
                secret.undefine()

    def test_cold_is_refused_without_its_secret_by_name(self):
        self.undefine_secret()
        error = self.assertRaises(errors.Unsupported, self.take, self.running,
                                  cold=True)
        self.assertIn(self.secret, str(error))
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left()

    def test_that_refusal_is_right(self):
        # What it keeps from this guest: saved it would not start.
        self.undefine_secret()
        domain = self.running.domain
        domain.managedSave()
        error = self.assertRaises(libvirt.libvirtError, domain.create)
        self.assertIn(self.secret, str(error))
        self.define_secret()
        domain.create()
        self.assertTrue(self.running.is_writing())

    def test_cold_with_its_secret_goes_on(self):
        image = self.take(self.running, cold=True).images[0]
        self.assert_guest_untouched(self.running, self.before,
                                    same_process=False)
        self.assert_nothing_left(image.image_id)

    def test_live_keeps_its_state(self):
        # Also without the secret, as it is under Nova.
        self.undefine_secret()
        permanent = self.state / 'tpm2-00.permall'
        kept = permanent.read_bytes(), self.state.stat().st_ino
        self.assertTrue(kept[0])
        image = self.take(self.running).images[0]
        self.assertEqual(
            kept, (permanent.read_bytes(), self.state.stat().st_ino))
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left(image.image_id)

        self.define_secret()
        self.running.destroy()
        self.running.boot()
        self.assertEqual(kept[1], self.state.stat().st_ino)
