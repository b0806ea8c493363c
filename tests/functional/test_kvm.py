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

"""The lab finds out whether an accelerator works."""

from tests.functional import base
from tests.lab import kvm


class AcceleratorTestCase(base.FunctionalTest):

    def test_emulation_reaches_the_first_program(self):
        self.assertTrue(kvm.accelerator_works('tcg'))

    def test_what_qemu_does_not_have_does_not_work(self):
        self.assertFalse(kvm.accelerator_works('none-such'))
