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

"""A definition that was read without its secrets comes back without them.

:source: bugs.launchpad.net/nova/+bug/1346191
"""

import logging

import fixtures

from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


class SecretsTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()

    def test_password_of_the_console_comes_back(self):
        self.assertIn(fake_node.PASSWORD, self.before.persistent)
        self.take()
        self.assert_guest_untouched(self.before)

    def test_it_comes_back_by_recovery(self):
        self.die('undefineFlags')
        self.recover()
        self.assert_guest_untouched(self.before)

    def test_it_is_in_no_log_and_in_no_image(self):
        log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))
        self.die('blockRebase')
        self.recover()
        self.take()
        self.assertIn('UndefineDomain', log.output)
        self.assertNotIn(fake_node.PASSWORD, log.output)
        (stored,) = self.fake.glance.stored.values()
        self.assertNotIn(fake_node.PASSWORD, repr(stored))
