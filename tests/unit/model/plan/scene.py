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

"""The facts that a plan is made from, in the tests of each decision."""

import dataclasses

from oslotest import base

from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import local as local_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import request as request_model
from nova_snap.model import room as room_model
from nova_snap import units
from tests.unit import data
from tests.unit import settings

State = domain_model.State

SIZE = 10 * units.GiB
ALLOCATED = 2 * units.GiB
# By the active layer.
ACTIVE = units.GiB // 2
ROOT = layer_model.Layer('/srv/guests/root.qcow2', 'qcow2')
BASE = layer_model.Layer('/srv/guests/base.raw', 'raw')
BLOCK = layer_model.Layer(
    '/dev/vg/guest_root', 'raw', storage=layer_model.Storage.BLOCK
)


def facts(guest='agent-connected.live', **changes):
    """A guest that runs, on a disk of two layers, with room enough."""
    if isinstance(guest, str):
        guest = data.domain(guest)
    return dataclasses.replace(
        plan_model.Facts(
            domain=guest, state=State.RUNNING, qemu_id=3, is_persistent=True,
            has_managed_save=False, job=None,
            disks=_disks(guest, changes),
            room=room_model.Room('/srv/snapshots', 100 * units.GiB),
            nova_compute_runs=False),
        **changes)


def _disks(guest, changes):
    """Take what is said of the root disk out of the changes."""
    about = {name: changes.pop(name)
             for name in ('chain', 'virtual_size', 'allocations', 'measured',
                          'block_job', 'first', 'may_be_cloned')
             if name in changes}
    if guest.root_disk is None:
        return ()
    return (dataclasses.replace(
        plan_model.DiskFacts(guest.root_disk, chain=(ROOT, BASE),
                             virtual_size=SIZE,
                             allocations=(ACTIVE, ALLOCATED - ACTIVE)[
                                 :len(about.get('chain', (ROOT, BASE)))]),
        **about),)


def request(name='a-snapshot', made_by=request_model.Party.US, **changes):
    """Ask for one image, of the root disk."""
    image = request_model.RequestedImage('an-image', name, made_by)
    return dataclasses.replace(
        request_model.Request('an-instance', (image,)), **changes)


def novas_guest(agent='connected', state_of_root='image', **properties):
    """A guest of Nova's whose image has these properties, as objects do."""
    guest = data.nova34_domain('image-backed.live')
    return dataclasses.replace(guest, agent=agent, nova=dataclasses.replace(
        guest.nova, root_type=state_of_root, image_properties=properties))


class PlanTestCase(base.BaseTestCase):

    def plan(self, facts, asked=None, **options):
        return local_plan.make_plan(
            asked or request(), settings.make(**options), facts
        )

    def refusal(self, error, facts, asked=None, **options):
        """Return what the plan says no with."""
        refused = self.assertRaises(error, self.plan, facts, asked,
                                    **options)
        return str(refused)
