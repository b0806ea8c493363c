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

"""Another client acts on the guest at every step of a live snapshot.

The rules of undoing the undefine: what is transient is defined, what another
client has defined again is theirs, what is gone is defined as long as its
root disk is there.
"""

import libvirt

from nova_snap.flows import recovery
from tests.fakes import agent as fake_agent
from tests.fakes import calls as fake_calls
from tests.fakes import node as fake_node
from tests.flow import checks
from tests.flow.crash import points
from tests.flow import scene as flow_scene

When = fake_calls.When
SETTLED = {recovery.Outcome.SETTLED}


class OtherClientTestCase(points.Crashes, flow_scene.FlowTestCase):
    """What is done is said by the tests; it is done once."""

    asked = {'quiesce': 'want'}

    def prepare(self, fake):
        fake.guest.create()
        fake.guest.setAutostart(1)

    def acted(self, act, races=()):
        """Run once for each call, and let the other client act before it.

        :param races: calls that the client may come before by no more than a
            moment: libvirt cannot look and act in one
        """
        for call in self.calls():
            if call.name in races:
                continue
            yield call, self.hit(lambda process, at=call.number, act=act:
                                 process.calls.then(
                                     at, lambda: act(process.fake),
                                     When.BEFORE))

    def killed(self, act):
        """Run once for each call, die after it, and let the client act."""
        for call in self.calls():
            run = self.hit(lambda process, at=call.number:
                           process.calls.kill(at, When.AFTER))
            act(run.fake)
            outcomes = {finding.outcome for finding in run.recover()}
            self.assertEqual(set(), outcomes - SETTLED, str(call))
            yield call, run

    def judge_all(self, runs, wrong):
        problems = []
        for call, run in runs:
            found = wrong(run) + checks.neither_all_nor_nothing(run.fake)
            found += [f'record {one} is left' for one in run.records()]
            found += [f'{one.name} is left'
                      for one in run.fake.snapshots.iterdir()]
            problems += [f'{call.number} ({call}): {what}' for what in found]
        self.judge(problems)


def not_deleted(run):
    known = list(run.fake.libvirtd.domains)
    return [f'{known} is defined'] if known else []


def not_off(run):
    domain = run.fake.libvirtd.domains.get(fake_node.UUID)
    if domain is None:
        return ['it is not defined']
    wrong = []
    if domain.persistent != run.before.persistent:
        wrong.append(f'it is defined as {domain.persistent}')
    if domain.live is not None:
        wrong.append('it was started')
    if not domain.is_set_to_autostart:
        wrong.append('it does not start by itself any more')
    return wrong


def not_rebooted(run):
    domain = run.fake.libvirtd.domains.get(fake_node.UUID)
    if domain is None:
        return ['it is not defined']
    wrong = []
    if '<title>rebooted</title>' not in (domain.persistent or ''):
        wrong.append(f'it is defined as {domain.persistent}')
    if domain.now != libvirt.VIR_DOMAIN_RUNNING or domain.starts != 1:
        wrong.append('it does not run as it was started')
    if domain.agent.frozen or domain.mirrors or domain.saved is not None:
        wrong.append('something of ours is on it')
    if domain.agent.timeout != fake_agent.SET_TIME_OUT_BLOCK:
        wrong.append('waits for its agent are bounded')
    if domain.is_set_to_autostart:
        wrong.append('it starts by itself')
    return wrong


class DeletedTestCase(OtherClientTestCase):

    def test_it_is_deleted_in_between(self):
        self.judge_all(self.acted(fake_node.FakeNode.delete_guest,
                                  races=['defineXML']), not_deleted)

    def test_it_is_deleted_after_we_died(self):
        self.judge_all(self.killed(fake_node.FakeNode.delete_guest),
                       not_deleted)


class PoweredOffTestCase(OtherClientTestCase):

    def test_it_is_powered_off_in_between(self):
        self.judge_all(self.acted(fake_node.FakeNode.power_off_guest),
                       not_off)

    def test_it_is_powered_off_after_we_died(self):
        self.judge_all(self.killed(fake_node.FakeNode.power_off_guest),
                       not_off)


class HardRebootedTestCase(OtherClientTestCase):

    def test_it_is_rebooted_in_between(self):
        self.judge_all(self.acted(fake_node.FakeNode.hard_reboot_guest,
                                  races=['undefineFlags', 'defineXML',
                                         'autostart', 'setAutostart']),
                       not_rebooted)

    def test_it_is_rebooted_after_we_died(self):
        self.judge_all(self.killed(fake_node.FakeNode.hard_reboot_guest),
                       not_rebooted)
