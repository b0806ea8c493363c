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


"""A backup job that nova-compute has begun, read while the guest writes."""

from tests.functional import base
from tests.functional import watch
from tests.lab import proof
from tests.nova_libvirt import scene


class DriverTestCase(scene.DriverTest):

    def test_a_frozen_guest_is_read_and_writes_on(self):
        self.options['nova_snap']['live_method'] = 'backup'
        guest = self.guest(agent='run')
        seen, instant = base.look(guest), watch.Instant(guest)
        result = self.take(guest, base.Hooks(
            {'backup_job.begin': instant}), quiesce='require')
        self.assertEqual('backup', result.plan.method)
        self.assertEqual('frozen', result.consistency)
        self.assert_guest_untouched(guest, seen)
        (image,) = result.images
        self.assert_nothing_left(image.image_id)
        path = self.download(image.image_id)
        proof.assert_sound(path, 'qcow2')
        self.assertLess(instant.check(path, 'qcow2'), guest.last_record())
