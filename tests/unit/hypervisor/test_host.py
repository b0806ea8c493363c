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

    def test_unknown(self):
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

    def test_all(self):
        self.connection.listAllDomains.return_value = [
            fake_connection.make_domain()]
        self.assertEqual([UUID], [domain.uuid for domain
                                  in self.host.domains()])

    def test_a_libvirt_that_lists_none_is_an_error_of_ours(self):
        self.refuse('listAllDomains', 'VIR_ERR_INTERNAL_ERROR')
        error = self.assertRaises(errors.HypervisorError, self.host.domains)
        self.assertIn('listAllDomains', str(error))
