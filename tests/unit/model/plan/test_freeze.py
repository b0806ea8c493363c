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


import ddt

from nova_snap import errors
from nova_snap.model import domain as domain_model
from nova_snap.model.plan import freeze as freeze_plan
from tests.unit.model.plan import scene

State = domain_model.State


@ddt.ddt
class FreezeTestCase(scene.PlanTestCase):

    @ddt.named_data(
        ('it is not asked for', {}, None, (False, False)),
        ('the image has an agent', {'hw_qemu_guest_agent': 'True'}, None,
         (True, False)),
        ('the image requires it', {'os_require_quiesce': 'True'}, None,
         (True, True)),
        ('the image says no', {'hw_qemu_guest_agent': 'False',
                               'os_require_quiesce': 'False'}, None,
         (False, False)),
        ('the operator wants it', {}, 'want', (True, False)),
        ('the operator requires it', {}, 'require', (True, True)),
        ('the image requires what the operator wants',
         {'os_require_quiesce': 'yes'}, 'want', (True, True)),
    )
    def test_image_and_operator_say_whether_to_freeze(
        self, properties, quiesce, expected
    ):
        made = self.plan(scene.facts(scene.novas_guest(**properties)),
                         scene.request(quiesce=quiesce))
        self.assertEqual(expected, (made.wants_freeze, made.requires_freeze))
        self.assertTrue(made.has_agent)

    def test_of_a_guest_of_others_the_operator_alone_asks(self):
        self.assertFalse(self.plan(scene.facts()).wants_freeze)
        self.assertTrue(self.plan(scene.facts(), scene.request(quiesce='want'))
                        .wants_freeze)

    @ddt.named_data(
        ('no channel', 'absent', State.RUNNING, 'hw_qemu_guest_agent'),
        ('no agent', 'disconnected', State.RUNNING,
         'start qemu-guest-agent'),
        ('it is paused', 'connected', State.PAUSED, 'paused'),
        ('it sleeps', 'connected', State.PMSUSPENDED, 'pmsuspended'),
    )
    def test_where_it_cannot_be(self, agent, state, words):
        required = scene.novas_guest(agent, os_require_quiesce='True')
        said = self.refusal(errors.Unsupported, scene.facts(required,
                                                       state=state))
        self.assertIn(words, said)
        self.assertIn('os_require_quiesce', said)

        said = self.refusal(errors.Unsupported,
                            scene.facts(scene.novas_guest(agent), state=state),
                            scene.request(quiesce='require'))
        self.assertIn(words, said)
        self.assertIn('--quiesce', said)

        wanted = scene.novas_guest(agent, hw_qemu_guest_agent='True')
        self.assertFalse(self.plan(scene.facts(wanted, state=state))
                         .wants_freeze)

    @ddt.named_data(
        ('saved', State.RUNNING, True),
        ('off', State.SHUTOFF, False),
    )
    def test_a_guest_that_stands_still_is_not_frozen(self, state,
                                                     cold):
        facts = scene.facts(
            scene.novas_guest(os_require_quiesce='True'), state=state
        )
        made = self.plan(facts, scene.request(cold=cold, quiesce='want'))
        self.assertEqual((False, False),
                         (made.wants_freeze, made.requires_freeze))
        said = self.refusal(errors.Unsupported, facts,
                            scene.request(cold=cold, quiesce='require'))
        self.assertIn('--quiesce', said)

    @ddt.data(
        ('yes', True), ('True', True), (' TRUE ', True), ('on', True),
        ('1', True), ('y', True), ('t', True),
        ('no', False), ('False', False), ('0', False), ('', False),
        ('maybe', False), (None, False),
    )
    @ddt.unpack
    def test_a_word_is_read_as_glance_s_users_write_it(self, word, truth):
        self.assertEqual(truth, freeze_plan.is_true(word))
