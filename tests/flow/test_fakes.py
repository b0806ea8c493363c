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

"""The fakes have the shape of what they stand for."""

import ast
import inspect
import pathlib

import ddt
import libvirt
from oslotest import base

from nova_snap import clock as clock_module
from nova_snap.host import files as files_module
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.hypervisor import blockjob
from nova_snap.hypervisor import domain as domain_module
from nova_snap.journal import store as store_module
from nova_snap.services.glance import images as images_module
from tests.fakes import calls as fake_calls
from tests.fakes import clock as fake_clock
from tests.fakes import domain as fake_domain
from tests.fakes import files as fake_files
from tests.fakes.glance import images as fake_images
from tests.fakes import libvirtd as fake_libvirtd
from tests.fakes import qemu_img as fake_qemu_img
from tests.flow import scene as flow_scene


def public(cls):
    return {name for name, found in inspect.getmembers(cls, callable)
            if not name.startswith('_')}


def shape(function):
    """Return names, defaults and kinds of arguments, without annotations."""
    return [(one.name, one.default, one.kind)
            for one in inspect.signature(function).parameters.values()]


def libvirt_calls(module):
    """Return the names of libvirt's methods that a module asks for."""
    tree = ast.parse(pathlib.Path(module.__file__).read_text())
    return {argument.value for node in ast.walk(tree)
            if isinstance(node, ast.Call) for argument in node.args
            if isinstance(argument, ast.Constant)
            and isinstance(argument.value, str)
            and hasattr(libvirt.virDomain, argument.value)}


@ddt.ddt
class ShapeTestCase(base.BaseTestCase):

    @ddt.data(
        (fake_images.FakeImages, images_module.Images, set()),
        (fake_qemu_img.FakeQemuImg, qemu_img_module.QemuImg, set()),
        # Real, over seconds that do not pass by themselves.
        (fake_clock.FakeClock, clock_module.Clock, {'looks', 'stopwatch'}),
        # Real; reading and tidying up do nothing to a guest.
        (fake_files.FakeStore, store_module.Store,
         public(store_module.Store) - {'write', 'remove'}),
    )
    @ddt.unpack
    def test_every_method_is_faked_with_its_arguments(self, fake, real,
                                                      inherited):
        for name in public(real) - inherited:
            self.assertIn(name, vars(fake))
            self.assertEqual(shape(getattr(real, name)),
                             shape(getattr(fake, name)), name)

    def test_every_method_of_files_is_counted(self):
        counted = fake_files.FakeFiles(
            fake_calls.Calls(before_each=lambda: None), None)
        # That one asks the others.
        expected = public(files_module.Files) - {'has_layer'}
        self.assertEqual(expected, expected & set(vars(counted)))

    @ddt.data((fake_domain.FakeDomain, libvirt.virDomain),
              (fake_libvirtd.FakeConnection, libvirt.virConnect),
              (fake_domain.Metadata, libvirt.virDomainSnapshot),
              (fake_domain.Metadata, libvirt.virDomainCheckpoint))
    @ddt.unpack
    def test_what_libvirt_has_is_called_as_libvirts(self, fake, real):
        both = public(fake) & public(real)
        self.assertTrue(both)
        for name in both:
            self.assertEqual(shape(getattr(real, name)),
                             shape(getattr(fake, name)), name)

    def test_every_call_of_the_product_is_known(self):
        wanted = libvirt_calls(domain_module) | libvirt_calls(blockjob)
        self.assertLess(20, len(wanted))
        self.assertEqual(set(), wanted - public(fake_domain.FakeDomain))


class CallsTestCase(flow_scene.FlowTestCase):

    def test_dead_process_does_nothing_any_more(self):
        self.fake.guest.create()
        process = self.die('blockRebase')
        before = self.state()
        made = len(process.calls.made)
        self.assertRaises(
            fake_calls.Killed,
            process.world.host.domain(
                flow_scene.request().instance_uuid
            ).block_device('vda').abort,
        )
        self.assertEqual(before, self.state())
        self.assertEqual(made, len(process.calls.made))

    def test_guest_writes_as_long_as_it_can(self):
        guest = self.fake.guest
        for can, change in ((True, guest.create), (False, guest.suspend),
                            (True, guest.resume), (False, guest.fsFreeze),
                            (True, guest.fsThaw),
                            (False, guest.managedSave)):
            change()
            before = guest.content()
            guest.live_on()
            self.assertEqual(can, before != guest.content(), str(change))
