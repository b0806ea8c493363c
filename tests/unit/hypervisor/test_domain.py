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

from unittest import mock

import ddt
import libvirt
from oslotest import base

from nova_snap import errors
from nova_snap.hypervisor import domain as domain_module
from nova_snap.model import domain as domain_model
from tests.unit.hypervisor import connection as fake_connection
from tests.unit.hypervisor import test_errors

State = domain_model.State
SECURE = libvirt.VIR_DOMAIN_XML_SECURE
SECRET = 'open-sesame'


class DomainTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.handle = fake_connection.make_domain()
        self.connection = fake_connection.make_connection(self.handle)
        self.host = fake_connection.make_host(self.connection)
        self.domain = self.host.domain(fake_connection.UUID)


@ddt.ddt
class CallsTestCase(DomainTestCase):
    """The calls of libvirt that we make, with each of their flags."""

    @ddt.named_data(
        ['an end for every wait', 'set_agent_timeout', (60,),
         'agentSetResponseTimeout', (60, 0)],
        ['libvirt\'s own way to wait', 'set_agent_timeout', (None,),
         'agentSetResponseTimeout',
         (libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK, 0)],
        ['a question that taints nothing', 'ask_agent_time', (), 'getTime',
         (0,)],
        ['a freeze of all file systems', 'freeze', (), 'fsFreeze',
         (None, 0)],
        ['a thaw of all file systems', 'thaw', (), 'fsThaw', (None, 0)],
        ['the time', 'set_time', (1_800_000_000,), 'setTime',
         ({'seconds': 1_800_000_000, 'nseconds': 0}, 0)],
        ['a device out of the running guest alone', 'detach_device',
         ('<hostdev/>',), 'detachDeviceFlags',
         ('<hostdev/>', libvirt.VIR_DOMAIN_AFFECT_LIVE)],
        ['a device for the running guest alone', 'attach_device',
         ('<hostdev/>',), 'attachDeviceFlags',
         ('<hostdev/>', libvirt.VIR_DOMAIN_AFFECT_LIVE)],
        ['a save', 'managed_save', (), 'managedSave', (0,)],
        ['the end of a save', 'abort_job', (), 'abortJob', ()],
    )
    def test_libvirt_is_asked_for(self, method, given, call, expected):
        getattr(self.handle, call).return_value = 1
        getattr(self.domain, method)(*given)
        getattr(self.handle, call).assert_called_once_with(*expected)

    @ddt.named_data(
        ['as it was: running', False, 0],
        ['as it was: paused', True, libvirt.VIR_DOMAIN_START_PAUSED],
    )
    def test_a_guest_is_started(self, paused, flags):
        self.domain.start(paused=paused)
        self.handle.createWithFlags.assert_called_once_with(flags)

    # KEEP_TPM is 64 in libvirt-domain.h; nothing else may be in there:
    # neither MANAGED_SAVE nor NVRAM, which take away.
    @ddt.named_data(
        ['without the flag before there was one', 8_008_000,
         libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM],
        ['with its TPM', 8_009_000,
         libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | 64],
        ['with its TPM ever after', 10_000_000,
         libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | 64],
    )
    def test_a_domain_is_undefined(self, version, flags):
        self.connection.getLibVersion.return_value = version
        self.domain.undefine()
        self.handle.undefineFlags.assert_called_once_with(flags)
        self.handle.undefine.assert_not_called()


@ddt.ddt
class StateTestCase(DomainTestCase):

    @ddt.named_data(
        ['running', 'VIR_DOMAIN_RUNNING', State.RUNNING],
        ['waiting for its disk', 'VIR_DOMAIN_BLOCKED', State.RUNNING],
        ['paused', 'VIR_DOMAIN_PAUSED', State.PAUSED],
        ['going down', 'VIR_DOMAIN_SHUTDOWN', State.SHUTTING_DOWN],
        ['off', 'VIR_DOMAIN_SHUTOFF', State.SHUTOFF],
        ['crashed', 'VIR_DOMAIN_CRASHED', State.CRASHED],
        ['asleep', 'VIR_DOMAIN_PMSUSPENDED', State.PMSUSPENDED],
        ['nothing that libvirt can say', 'VIR_DOMAIN_NOSTATE',
         State.UNKNOWN],
    )
    def test_the_guest_is(self, name, state):
        self.handle.state.return_value = [getattr(libvirt, name), 1]
        self.assertEqual(state, self.domain.state())

    def test_every_state_of_libvirt_s_is_known(self):
        known = {getattr(libvirt, name) for name in (
            'VIR_DOMAIN_NOSTATE', 'VIR_DOMAIN_RUNNING', 'VIR_DOMAIN_BLOCKED',
            'VIR_DOMAIN_PAUSED', 'VIR_DOMAIN_SHUTDOWN', 'VIR_DOMAIN_SHUTOFF',
            'VIR_DOMAIN_CRASHED', 'VIR_DOMAIN_PMSUSPENDED')}
        self.assertEqual(known - {libvirt.VIR_DOMAIN_NOSTATE},
                         set(domain_module.STATES))

    @ddt.named_data(
        ['none', {'type': libvirt.VIR_DOMAIN_JOB_NONE}, None],
        ['none that libvirt knows of', {}, None],
        ['a migration', {
            'type': libvirt.VIR_DOMAIN_JOB_UNBOUNDED,
            'operation': libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT},
         'migration'],
        ['a save', {
            'type': libvirt.VIR_DOMAIN_JOB_BOUNDED,
            'operation': libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE}, 'save'],
        ['one that has no word', {
            'type': libvirt.VIR_DOMAIN_JOB_BOUNDED, 'operation': 99},
         'job'],
    )
    def test_its_job_is(self, stats, job):
        self.handle.jobStats.return_value = stats
        self.assertEqual(job, self.domain.job())

    def test_the_sizes_of_a_disk(self):
        self.handle.blockInfo.return_value = [100, 60, 70]
        self.assertEqual((100, 60), self.domain.block_sizes('vda'))

    @ddt.data('is_active:isActive', 'is_persistent:isPersistent',
              'has_managed_save:hasManagedSaveImage')
    def test_yes_and_no(self, names):
        method, call = names.split(':')
        for answer in (0, 1):
            getattr(self.handle, call).return_value = answer
            self.assertIs(bool(answer), getattr(self.domain, method)())


@ddt.ddt
class FreezeStatusTestCase(DomainTestCase):
    """What the agent itself says of a freeze, past libvirt's own calls."""

    @ddt.named_data(['thawed', '{"return":"thawed"}', True],
                    ['frozen', '{"return":"frozen"}', False],
                    ['what is none of both', '{"return":{}}', False])
    def test_it_says(self, answer, is_thawed):
        ask = self.host.connection.qemu.qemuAgentCommand
        ask.return_value = answer
        self.assertIs(is_thawed, self.domain.is_thawed(10))
        ask.assert_called_once_with(
            self.handle, '{"execute": "guest-fsfreeze-status"}', 10, 0)

    def test_it_says_brackets_without_end(self):
        ask = self.host.connection.qemu.qemuAgentCommand
        ask.return_value = '{"return":' + '[' * 100_000
        self.assertRaises(errors.QuiesceFailed, self.domain.is_thawed, 10)

    def test_it_says_nothing(self):
        self.host.connection.qemu.qemuAgentCommand.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_AGENT_UNRESPONSIVE))
        self.assertRaises(errors.QuiesceFailed, self.domain.is_thawed, 10)


@ddt.ddt
class GoneTestCase(DomainTestCase):

    def gone(self):
        self.connection.lookupByUUIDString.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_NO_DOMAIN))

    def test_it_is_there(self):
        self.assertTrue(self.domain.exists())

    def test_it_is_not(self):
        self.gone()
        self.assertFalse(self.domain.exists())

    def test_a_libvirt_that_is_away_is_no_answer(self):
        self.connection.lookupByUUIDString.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR))
        error = self.assertRaises(errors.HypervisorError,
                                  self.domain.exists)
        self.assertNotIsInstance(error, errors.DomainGone)

    @ddt.data('name', 'qemu_id', 'state', 'xml', 'definition', 'undefine',
              'freeze', 'thaw', 'managed_save')
    def test_every_method_says_so(self, method):
        self.gone()
        error = self.assertRaises(errors.DomainGone,
                                  getattr(self.domain, method))
        self.assertIn(fake_connection.UUID, str(error))


class DefinitionTestCase(DomainTestCase):

    def setUp(self):
        super().setUp()
        self.snapshot = mock.Mock(spec=libvirt.virDomainSnapshot)
        self.snapshot.getName.return_value = 'before'
        self.snapshot.getXMLDesc.return_value = f'<s>{SECRET}</s>'
        self.checkpoint = mock.Mock(spec=libvirt.virDomainCheckpoint)
        self.checkpoint.getName.return_value = 'daily'
        self.checkpoint.getXMLDesc.return_value = '<c/>'
        self.handle.XMLDesc.return_value = f'<domain>{SECRET}</domain>'
        self.handle.autostart.return_value = 1
        self.handle.listAllSnapshots.return_value = [self.snapshot]
        self.handle.listAllCheckpoints.return_value = [self.checkpoint]

    def test_all_that_an_undefine_takes_away_is_read(self):
        self.assertEqual(
            domain_module.Definition(
                xml=f'<domain>{SECRET}</domain>', autostart=True,
                snapshots=(('before', f'<s>{SECRET}</s>'),),
                checkpoints=(('daily', '<c/>'),)),
            self.domain.definition())
        self.handle.XMLDesc.assert_called_once_with(
            libvirt.VIR_DOMAIN_XML_INACTIVE | SECURE)
        self.snapshot.getXMLDesc.assert_called_once_with(SECURE)
        # Parents first: a child is not accepted before its parent.
        self.handle.listAllSnapshots.assert_called_once_with(
            libvirt.VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL)
        self.handle.listAllCheckpoints.assert_called_once_with(
            libvirt.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL)

    def test_it_tells_no_secret_in_a_log(self):
        self.assertNotIn(SECRET, repr(self.domain.definition()))

    def test_a_snapshot_deleted_in_between_is_an_error_of_ours(self):
        self.snapshot.getXMLDesc.side_effect = test_errors.libvirt_error(
            libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT)
        self.assertRaises(errors.HypervisorError, self.domain.definition)

    def test_it_is_given_back(self):
        definition = self.domain.definition()
        self.handle.autostart.return_value = 0
        self.handle.listAllSnapshots.return_value = []
        self.handle.listAllCheckpoints.return_value = []
        self.domain.define_again(definition)
        self.connection.defineXML.assert_called_once_with(definition.xml)
        self.handle.setAutostart.assert_called_once_with(1)
        self.handle.snapshotCreateXML.assert_called_once_with(
            f'<s>{SECRET}</s>', libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)
        self.handle.checkpointCreateXML.assert_called_once_with(
            '<c/>', libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE)

    def test_what_is_there_is_left_alone(self):
        self.domain.define_again(self.domain.definition())
        self.handle.setAutostart.assert_not_called()
        self.handle.snapshotCreateXML.assert_not_called()
        self.handle.checkpointCreateXML.assert_not_called()

    def test_what_did_not_start_by_itself_does_not(self):
        self.handle.autostart.return_value = 0
        self.domain.define_again(self.domain.definition())
        self.handle.setAutostart.assert_not_called()
