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

"""Decide whether the guest is frozen, and whether it must be."""

from nova_snap import errors
from nova_snap.model import domain as domain_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import request as request_model

TRUE_WORDS = frozenset(('1', 't', 'true', 'on', 'y', 'yes'))

# In which file systems can be frozen.
FREEZES = (*plan_model.LIVE_METHODS, plan_model.Method.DIRECT,
           plan_model.Method.VOLUMES)


def is_true(word: str | None) -> bool:
    """Read a boolean image property as Glance's users write it.

    :source: oslo_utils.strutils.bool_from_string
    """
    return (word or '').strip().lower() in TRUE_WORDS


def freeze(request: request_model.Request, facts: plan_model.Facts,
           method: plan_model.Method) -> tuple[bool, bool]:
    """Say whether the guest is frozen, and whether it must be.

    :raises Unsupported: when it must be and cannot be
    """
    is_off = facts.state == domain_model.State.SHUTOFF
    if method not in FREEZES or (
            is_off and method == plan_model.Method.DIRECT):
        # Saved or stopped, a guest writes nothing: there is no freeze in
        # these flows, as there is none in Nova's, also where the image says
        # os_require_quiesce.
        if request.quiesce == 'require':
            raise plan_model.unsupported(
                facts, 'file systems are frozen in a live snapshot alone, '
                       f'and this one is {facts.state if is_off else method}'
                       '; leave out --quiesce')
        return False, False
    properties = request.image_properties
    if properties is None:
        properties = (facts.domain.nova.image_properties
                      if facts.domain.nova else {})
    requires = (request.quiesce == 'require'
                or is_true(properties.get('os_require_quiesce')))
    wants = (requires or request.quiesce == 'want'
             or is_true(properties.get('hw_qemu_guest_agent')))
    reason = None
    if facts.state != domain_model.State.RUNNING:
        reason = f'it is {facts.state} and its agent cannot answer'
    elif facts.domain.agent == 'absent':
        reason = ('it has no guest agent channel; set hw_qemu_guest_agent '
                  'on its image and rebuild it')
    elif facts.domain.agent == 'disconnected':
        reason = ('no guest agent runs in it; install and start '
                  'qemu-guest-agent')
    if reason is None:
        return wants, requires
    if requires:
        asked = ('--quiesce' if request.quiesce == 'require'
                 else 'os_require_quiesce of its image')
        raise errors.QuiesceImpossible(
            instance=facts.domain.name,
            reason=f'{asked} asks for frozen file systems, but {reason}')
    return False, False
