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

import ddt
import fixtures
from oslotest import base

from nova_snap.host import systemd
from tests.unit.host import program


@ddt.ddt
class StopLimitTestCase(base.BaseTestCase):
    """After how long systemd kills a service that stops."""

    def setUp(self):
        super().setUp()
        self.cgroup = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path, 'cgroup')
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.systemd.CGROUP', self.cgroup))
        self.cgroup.write_text('0::/system.slice/nova-compute.service\n')

    def says(self, text):
        """Let systemctl say this of nova-compute.service, and no other."""
        self.useFixture(program.Program('systemctl', (
            '[ "$*" = "show --property=TimeoutStopUSec --value '
            f'nova-compute.service" ] || exit 1\necho "{text}"\n')))

    @ddt.data(('15s', 15.0), ('1min 30s', 90.0), ('2h', 7200.0),
              ('1min 500ms', 60.5), ('infinity', None), ('', None),
              ('15 parsecs', None))
    @ddt.unpack
    def test_it_is_what_systemd_says(self, text, seconds):
        self.says(text)
        self.assertEqual(seconds, systemd.stop_limit())

    @ddt.data(
        '9:cpu:/\n1:name=systemd:/system.slice/nova-compute.service\n',
        '0::/system.slice/nova-compute.service/worker\n',
    )
    def test_the_service_is_that_of_our_control_group(self, text):
        self.cgroup.write_text(text)
        self.says('15s')
        self.assertEqual(15.0, systemd.stop_limit())

    @ddt.data('0::/\n', '0::/user.slice/session-1.scope\n', '')
    def test_who_is_no_service_has_none(self, text):
        self.cgroup.write_text(text)
        self.says('15s')
        self.assertIsNone(systemd.stop_limit())

    def test_a_systemd_that_does_not_answer_sets_none(self):
        self.useFixture(program.Program('systemctl', 'exit 1\n'))
        self.assertIsNone(systemd.stop_limit())

    def test_a_host_without_systemd_has_none(self):
        self.useFixture(fixtures.EnvironmentVariable('PATH', '/nowhere'))
        self.assertIsNone(systemd.stop_limit())
