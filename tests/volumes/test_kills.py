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

"""Killed at every step: the next command finds all of it and undoes it."""

import json

import libvirt_qemu

from tests.volumes import scene

# Seconds for an answer.
AGENT_TIMEOUT = 10

IMAGE_CREATE = ('image-create', '{}', 'image')


def is_frozen(guest):
    return json.loads(libvirt_qemu.qemuAgentCommand(
        guest.domain, '{"execute": "guest-fsfreeze-status"}',
        AGENT_TIMEOUT, 0))['return'] == 'frozen'


class KillsTestCase(scene.VolumeTest):

    HARM = {'libvirt fsFreeze': is_frozen,
            'Volumes.create_snapshot': is_frozen}

    def setUp(self):
        super().setUp()
        self.arguments = self.image_create(self.agent_guest(), IMAGE_CREATE)

    def test_before_each_act(self):
        self.sweep(self.agent_guest(), *self.arguments)

    def test_the_recovery_is_killed_too(self):
        self.sweep_recovery(self.agent_guest(), *self.arguments,
                            after='libvirt fsThaw')
