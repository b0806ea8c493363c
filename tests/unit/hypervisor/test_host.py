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


import ddt
import libvirt
from oslotest import base

from nova_snap import errors
from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import host as host_module
from nova_snap.model import secret as secret_model
from tests.unit.hypervisor import connection as fake_connection
from tests.unit.hypervisor import test_errors

UUID = fake_connection.UUID


@ddt.ddt
class LookupTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.connection = fake_connection.make_connection(
            fake_connection.make_domain())
        self.host = fake_connection.make_host(self.connection)

    def refuse(self, call, code):
        getattr(self.connection, call).side_effect = (
            test_errors.libvirt_error(getattr(libvirt, code)))

    def test_by_uuid(self):
        self.assertEqual(UUID, self.host.lookup(UUID).uuid)
        self.connection.lookupByName.assert_not_called()

    @ddt.named_data(
        ['a word that is no UUID', 'VIR_ERR_INVALID_ARG'],
        ['a name that looks like a UUID', 'VIR_ERR_NO_DOMAIN'],
    )
    def test_by_name(self, code):
        self.refuse('lookupByUUIDString', code)
        self.assertEqual(UUID, self.host.lookup('guest').uuid)
        self.connection.lookupByName.assert_called_once_with('guest')

    def test_an_unknown_instance_is_gone(self):
        self.refuse('lookupByUUIDString', 'VIR_ERR_INVALID_ARG')
        self.refuse('lookupByName', 'VIR_ERR_NO_DOMAIN')
        error = self.assertRaises(errors.DomainGone, self.host.lookup,
                                  'guest')
        self.assertIn('guest', str(error))

    @ddt.data('lookupByUUIDString', 'lookupByName')
    def test_a_libvirt_that_fails_does_not_say_unknown(self, call):
        self.refuse('lookupByUUIDString', 'VIR_ERR_INVALID_ARG')
        self.refuse(call, 'VIR_ERR_RPC')
        error = self.assertRaises(errors.HypervisorError, self.host.lookup,
                                  'guest')
        self.assertNotIsInstance(error, errors.DomainGone)
        self.assertIn(call, str(error))

    def test_each_domain_is_listed(self):
        self.connection.listAllDomains.return_value = [
            fake_connection.make_domain()]
        self.assertEqual([UUID], [domain.uuid for domain
                                  in self.host.domains()])

    def test_a_libvirt_that_lists_none_is_an_error_of_ours(self):
        self.refuse('listAllDomains', 'VIR_ERR_INTERNAL_ERROR')
        error = self.assertRaises(errors.HypervisorError, self.host.domains)
        self.assertIn('listAllDomains', str(error))


@ddt.ddt
class SecretTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.connection = fake_connection.make_connection(
            fake_connection.make_domain())
        self.host = fake_connection.make_host(self.connection)

    @ddt.named_data(
        ('its UUID', secret_model.Secret('its TPM', 'a', 'vtpm'),
         'secretLookupByUUIDString', ('a',)),
        ('its usage', secret_model.Secret('its disk', '', 'ceph', 'client'),
         'secretLookupByUsage',
         (libvirt.VIR_SECRET_USAGE_TYPE_CEPH, 'client')),
    )
    def test_it_is_looked_up_by(self, secret, name, words):
        call = getattr(self.connection, name)
        self.assertTrue(self.host.has_secret(secret))
        call.assert_called_once_with(*words)
        call.side_effect = test_errors.libvirt_error(
            libvirt.VIR_ERR_NO_SECRET)
        self.assertFalse(self.host.has_secret(secret))
        call.side_effect = test_errors.libvirt_error(
            libvirt.VIR_ERR_OPERATION_DENIED)
        self.assertRaises(errors.HypervisorError, self.host.has_secret,
                          secret)


@ddt.ddt
class SaveDirectoryTestCase(base.BaseTestCase):

    @ddt.named_data(
        ('of the system', 'qemu:///system', '/var/lib/libvirt/qemu/save'),
        ('of a user', 'qemu:///session', None),
        ('of another host', 'qemu+ssh://other/system', None),
        ('behind a socket', 'qemu:///system?socket=/run/x', None),
        ('of containers', 'lxc:///system', None),
    )
    def test_it_is_known_of_the_system_alone(self, uri, expected):
        connection = connection_module.Connection(uri)
        self.assertEqual(
            expected, host_module.Host(connection).save_directory())
