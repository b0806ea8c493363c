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

import pathlib
import socket

import fixtures
from oslotest import base

from tests.lab import ports as ports_module


class PortsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path) / 'service'

    def test_they_stay_the_same(self):
        found = ports_module.kept(self.folder, 'one', 'two')
        self.assertEqual({'one', 'two'}, set(found))
        self.assertEqual(found, ports_module.kept(self.folder, 'one', 'two'))

    def test_others_are_asked_for(self):
        ports_module.kept(self.folder, 'one')
        self.assertEqual({'one', 'two'},
                         set(ports_module.kept(self.folder, 'one', 'two')))

    def test_what_was_written_is_no_use(self):
        ports_module.kept(self.folder, 'one')
        (self.folder / 'ports').write_text('{')
        self.assertEqual({'one'}, set(ports_module.kept(self.folder, 'one')))

    def test_open_or_not(self):
        with socket.create_server(('127.0.0.1', 0)) as server:
            port = server.getsockname()[1]
            self.assertTrue(ports_module.is_open(port))
        self.assertFalse(ports_module.is_open(port))
