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

"""instance.progress while a snapshot is under way."""

import threading

import ddt
from nova import exception
from nova import objects
from testtools import matchers

from nova_snap.driver import progress as progress_module
from nova_snap.model import phase as phase_model
from tests.with_nova import scene

Phase = phase_model.Phase

IMAGE = scene.IMAGE

# Saves of the instance besides those that change its task state.
HANDFUL = 6


@ddt.ddt
class ProgressTestCase(scene.SceneTestCase):

    def setUp(self):
        super().setUp()
        self.instance.progress = 0
        self.instance.save()
        self.written = []
        self.saves = []
        save = objects.Instance.save

        def noting(instance, *args, **kwargs):
            changes = instance.obj_get_changes()
            self.saves.append(kwargs.get('expected_task_state'))
            if 'progress' in changes:
                self.written.append(changes['progress'])
            return save(instance, *args, **kwargs)

        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova.objects.Instance.save', noting))

    def test_from_nothing_to_all(self):
        self.image_create(self.start_manager())
        self.assertEqual(100, self.read().progress)
        self.assertEqual(sorted(self.written), self.written)
        self.assertEqual({0, 100}, {0, *self.written[-1:]})

    def test_no_more_saves_than_novas_own(self):
        self.image_create(self.start_manager())
        # What is not a change of the task state is the manager's.
        self.assertThat(self.saves.count(None),
                        matchers.LessThan(HANDFUL))

    @ddt.data('live', 'cold')
    def test_a_failure_leaves_what_was(self, kind):
        self.flags(disable_libvirt_livesnapshot=kind == 'cold',
                   group='workarounds')
        self.glance.quota = 1
        self.assertRaises(exception.ImageQuotaExceeded, self.image_create,
                          self.start_manager())
        self.assertEqual(0, self.read().progress)

    def test_a_long_phase_is_written_in_a_handful_of_steps(self):
        with self.looked_at_often():
            with progress_module.InstanceProgress(
                    self.context, self.instance) as progress:
                for phase in (Phase.MIRROR, Phase.CONVERT, Phase.UPLOAD):
                    progress.begins(phase)
                    for done in range(0, 1001, 3):
                        progress.advances(done, 1000)
                        self.look.wait(0.0005)
        self.assertThat(len(self.written), matchers.LessThan(HANDFUL))

    def test_what_ceph_copies_does_not_lead_back(self):
        upload, _ = progress_module.PHASES[Phase.UPLOAD]
        with self.looked_at_often():
            with progress_module.InstanceProgress(
                    self.context, self.instance) as progress:
                progress.note(upload)
                for phase in (Phase.FLATTEN, Phase.HASH):
                    progress.begins(phase)
                    for done in range(0, 1001, 3):
                        progress.advances(done, 1000)
                        self.look.wait(0.0005)
        self.assertNotEqual([], self.written)
        self.assertThat(min(self.written),
                        matchers.GreaterThan(upload - 1))

    def test_where_nova_tells_of_each_change_nothing_more_is_written(self):
        self.flags(notify_on_state_change='vm_and_task_state',
                   group='notifications')
        with self.looked_at_often():
            with progress_module.InstanceProgress(
                    self.context, self.instance) as progress:
                progress.begins(Phase.UPLOAD)
                progress.advances(1, 1)
                self.look.wait(0.1)
        self.assertEqual([], self.written)

    def looked_at_often(self):
        """Let the thread look again and again, without any wait."""
        self.look = threading.Event()
        return scene.mock.patch.object(progress_module, 'LOOK_SECONDS', 0.01)

    def test_a_database_that_does_not_answer(self):
        instance = progress_module.InstanceProgress(self.context,
                                                    self.instance)
        with scene.mock.patch.object(objects.Instance, 'get_by_uuid',
                                     side_effect=OSError('down')):
            instance._write(20)
        self.assertEqual([], self.written)
