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

"""Upstream leaves the domain undefined for as long as the copy takes.

Powered off then, it vanishes; and if nova-compute dies it stays so, with a
mirror that blocks save, migration and the next snapshot.

:source: nova/virt/libvirt/driver.py _live_snapshot
"""

import dataclasses

import libvirt

from nova_snap import errors
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

# The first thing that is done once the copy runs and all is settled.
COPYING = 'journal write UndefineDomain undone'


class DomainLostTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.off = dataclasses.replace(self.before, is_active=False,
                                       now=libvirt.VIR_DOMAIN_SHUTOFF)

    def test_powered_off_while_it_is_copied(self):
        process = self.fake.process()
        process.calls.then(COPYING, self.fake.power_off_guest)
        self.assertRaises(errors.BlockJobLost, self.take, process)
        self.assertIs(self.fake.guest,
                      self.fake.libvirtd.domains[fake_node.UUID])
        self.assert_nothing_left(self.off)

    def test_we_die_while_it_is_copied_and_it_is_powered_off(self):
        self.die(COPYING)
        self.fake.power_off_guest()
        # Even before anybody recovers.
        self.assertIn(fake_node.UUID, self.fake.libvirtd.domains)
        self.recover()
        self.assert_nothing_left(self.off)

    def test_we_die_while_it_is_copied_and_it_is_saved(self):
        self.die(COPYING)
        self.assertRaises(libvirt.libvirtError, self.fake.guest.managedSave)
        self.recover()
        self.fake.guest.managedSave()
        self.assertIs(False, self.fake.guest.saved)

    def test_it_is_defined_before_the_first_look_at_the_copy(self):
        process = self.fake.process()
        self.take(process)
        names = [call.name for call in process.calls.made]
        self.assertLess(names.index('defineXML'),
                        names.index('blockJobInfo', names.index(
                            'blockRebase')))
