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

"""What a snapshot was, when it is done."""

import dataclasses

from nova_snap.model import consistency as consistency_model
from nova_snap.model import domain as domain_model
from nova_snap.model import image as image_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model.plan import volumes as volumes_plan


@dataclasses.dataclass(frozen=True)
class Result:
    """The images that are active in Glance, and how they were made.

    :ivar images: in the order of the plan's
    :ivar volume_snapshots: the ids of those that an image names
    :ivar frozen_seconds: how long the guest was frozen, from the question to
        its agent to the agent's answer; None for one that was not
    :ivar scratch_bytes: what the data took that a guest overwrote while a
        backup job held them; None where there was none
    :ivar written: what of the disk was written into Ceph, in words, where
        what has changed was asked for; None elsewhere
    """

    images: tuple[image_model.Image, ...]
    plan: plan_model.Plan | volumes_plan.VolumePlan
    consistency: str
    volume_snapshots: tuple[str, ...] = ()
    frozen_seconds: float | None = None
    scratch_bytes: int | None = None
    written: str | None = None

    @property
    def file_systems(self) -> str:
        """Say in words what a mount will find.

        Whether a guest that is off was shut down or cut off is not known.
        """
        if self.consistency == consistency_model.FROZEN:
            return 'frozen'
        if (self.plan.state == domain_model.State.SHUTOFF
                and not self.plan.has_managed_save):
            return 'as the guest left them when it was switched off'
        # Their journals are replayed.
        return 'as after a power cut'
