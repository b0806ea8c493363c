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

from tests.fakes import domain as fake_domain
from tests.flow.crash import points
from tests.flow import scene as flow_scene

SNAPSHOT = '<domainsnapshot><name>before</name></domainsnapshot>'
CHECKPOINT = '<domaincheckpoint><name>monday</name></domaincheckpoint>'


class FrozenTestCase(points.CrashTests, flow_scene.FlowTestCase):
    """Live, with all that a definition can have."""

    asked = {'quiesce': 'require'}

    def prepare(self, fake):
        fake.guest.create()
        fake.guest.setAutostart(1)
        fake.guest.snapshots.append(fake_domain.Metadata(SNAPSHOT))
        fake.guest.checkpoints.append(fake_domain.Metadata(CHECKPOINT))


class CopiedTestCase(points.CrashTests, flow_scene.FlowTestCase):
    """Live, without undefining."""

    asked = {'quiesce': 'want'}

    def prepare(self, fake):
        super().prepare(fake)
        fake.set(live_method='copy')


class StreamedTestCase(points.CrashTests, flow_scene.FlowTestCase):
    """Live, without a flat file."""

    def prepare(self, fake):
        super().prepare(fake)
        fake.set(upload='stream')


class BackedUpTestCase(points.CrashTests, flow_scene.FlowTestCase):
    """Live, held by a backup job and frozen for its start."""

    asked = {'quiesce': 'require'}

    def prepare(self, fake):
        super().prepare(fake)
        fake.set(live_method='backup')


class BackedUpIntoAFileTestCase(points.CrashTests, flow_scene.FlowTestCase):
    """Live, held by a backup job, and converted from it."""

    asked = {'image_format': 'vmdk'}

    def prepare(self, fake):
        super().prepare(fake)
        fake.set(live_method='backup')
