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

"""Upstream's live snapshot fails on a chain deeper than two.

:source: nova/virt/libvirt/utils.py create_image, "Base image failed safety
    check"
"""

import ddt

from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


@ddt.ddt
class DeepChainTestCase(flow_scene.FlowTestCase):

    @ddt.data(1, 2, 3, 5)
    def test_every_layer_is_in_the_image(self, layers):
        for method in ('live', 'cold', 'stopped'):
            self.fake = self.make_node(fake_node.GuestSpec(layers=layers))
            if method != 'stopped':
                self.fake.guest.create()
            process = self.fake.process()

            self.take(process, cold=method == 'cold')

            self.assert_all_or_nothing()
            image = self.image().clusters
            self.assertEqual(
                {f'layer {number}' for number in range(layers)},
                {key for key in image if key.startswith('layer')})
            self.assertEqual('0', image['top'])
