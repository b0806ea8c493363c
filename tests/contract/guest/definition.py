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

"""Defined, transient, gone."""

import libvirt

from nova_snap import errors
from tests.contract.guest import contract


class DefinitionContract(contract.Contract):

    def test_defined_and_running(self):
        self.assertTrue(self.domain.is_active())
        self.assertTrue(self.domain.is_persistent())
        self.assertEqual(contract.State.RUNNING, self.domain.state())
        self.assertLess(0, self.domain.qemu_id())
        self.assertFalse(self.domain.has_managed_save())
        self.assertIsNone(self.domain.job())

    def test_it_is_found_by_name_and_by_uuid(self):
        name = self.domain.name()
        for word in (name, self.side.uuid):
            self.assertEqual(self.side.uuid,
                             self.side.host.lookup(word).uuid)
        self.assertIn(self.side.uuid,
                      [one.uuid for one in self.side.host.domains()])
        self.assertRaises(errors.DomainGone, self.side.host.lookup,
                          'unknown')

    def test_domain_that_libvirt_does_not_know(self):
        unknown = self.side.host.domain(
            '00000000-0000-4000-8000-000000000000')
        for call in (unknown.is_persistent, unknown.qemu_id,
                     unknown.undefine, unknown.managed_save, unknown.thaw,
                     unknown.definition, unknown.job):
            self.assertRaises(errors.DomainGone, call)

    def test_undefined_it_runs_on_and_forgets_its_autostart(self):
        self.side.theirs().setAutostart(1)
        before = self.domain.qemu_id()

        self.domain.undefine()

        self.assertFalse(self.domain.is_persistent())
        self.assertTrue(self.domain.is_active())
        self.assertEqual(before, self.domain.qemu_id())
        self.assertEqual(0, self.side.theirs().autostart())
        self.assert_invalid(self.domain.undefine)
        self.assertRaises(libvirt.libvirtError,
                          self.side.theirs().setAutostart, 1)

    def test_transient_its_xml_can_be_read(self):
        self.domain.undefine()
        self.assertIn(self.side.uuid, self.domain.definition_xml())

    def test_defined_again_it_is_what_it_was(self):
        self.side.theirs().setAutostart(1)
        self.side.add_metadata()
        before = self.domain.definition()
        self.assertTrue(before.autostart)
        self.assertEqual((1, 1), (len(before.snapshots),
                                  len(before.checkpoints)))

        self.domain.undefine()
        self.domain.define_again(before)

        self.assertTrue(self.domain.is_persistent())
        self.assertEqual(before, self.domain.definition())
        self.domain.define_again(before)
        self.assertEqual(before, self.domain.definition())

    def test_completed_it_is_what_it_was(self):
        # Word for word: that is how a definition of ours is known again.
        self.side.theirs().setAutostart(1)
        before = self.domain.definition()
        self.domain.undefine()
        self.side.host.connection.define(before.xml, self.side.uuid)
        self.assertEqual(before.xml, self.domain.definition_xml())
        self.domain.complete(before)
        self.assertEqual(before, self.domain.definition())

    def test_secrets_are_in_the_definition_alone(self):
        self.assertIn(contract.PASSWORD, self.domain.definition_xml())
        self.assertNotIn(contract.PASSWORD, self.domain.xml())
        before = self.domain.definition()
        self.domain.undefine()
        self.domain.define_again(before)
        self.assertIn(contract.PASSWORD, self.domain.definition_xml())

    def test_destroyed_while_transient_it_is_gone(self):
        self.domain.undefine()
        self.side.theirs().destroy()
        self.assertRaises(errors.DomainGone, self.domain.is_persistent)

    def test_defined_again_when_it_was_gone(self):
        self.side.theirs().setAutostart(1)
        self.side.add_metadata()
        before = self.domain.definition()
        self.domain.undefine()
        self.side.theirs().destroy()

        self.domain.define_again(before)

        self.assertFalse(self.domain.is_active())
        self.assertEqual(contract.State.SHUTOFF, self.domain.state())
        self.assertEqual(-1, self.domain.qemu_id())
        self.assertEqual(before, self.domain.definition())

    def test_undefined_while_off_it_is_gone(self):
        self.side.theirs().destroy()
        self.domain.undefine()
        self.assertRaises(errors.DomainGone, self.domain.is_active)

    def test_off_with_snapshots_it_is_not_undefined(self):
        self.side.add_metadata()
        self.side.theirs().destroy()
        self.assert_invalid(self.domain.undefine)

    def test_saved_it_is_not_undefined(self):
        self.domain.managed_save()
        self.assert_invalid(self.domain.undefine)
        self.assertTrue(self.domain.has_managed_save())

    def test_libvirtd_restarts(self):
        before = self.domain.qemu_id()
        self.side.restart_libvirtd()
        self.assertEqual(before, self.domain.qemu_id())
        self.assertTrue(self.domain.is_persistent())
