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

"""What a door asks for; the same from both doors."""

import collections.abc as cabc
import dataclasses

from nova_snap import compat
from nova_snap.model import image_set


class Party(compat.StrEnum):
    """Who has made an image's record, and deletes it if we fail."""

    US = 'us'
    #: nova-api made it, and nova-compute waits for us
    NOVA = 'nova'


@dataclasses.dataclass(frozen=True)
class RequestedImage:
    """An image to be left in Glance.

    :ivar image_id: chosen by the door, so that a crash cannot hide the image
    :ivar owner: the project whose image it is, where its record is made
    :ivar place: in a set of images; None for one alone
    """

    image_id: str
    name: str
    made_by: Party = Party.US
    owner: str | None = None
    place: image_set.Place | None = None


@dataclasses.dataclass(frozen=True)
class Request:
    """One snapshot of one instance.

    :ivar images: the one that is wanted; a plan for a set has one for each
        disk, the root disk first
    :ivar set_id: all local disks are wanted, as images of this set; None for
        one disk
    :ivar disk: the target of another disk than the root disk, or of the one
        that the door knows to be the root disk
    :ivar image_format: None for what the options and the source say
    :ivar cold: take it cold also where it could be taken live
    :ivar quiesce: None for what the image says, else 'want' or 'require'
    :ivar nova_is_stopped: the operator vouches that no Nova acts on the host
    :ivar properties: more for the records of the images
    :ivar image_properties: of the image the instance was made from, as Nova
        has them; None for what the domain's XML says
    """

    instance_uuid: str
    images: tuple[RequestedImage, ...]
    set_id: str | None = None
    disk: str | None = None
    image_format: str | None = None
    cold: bool = False
    quiesce: str | None = None
    nova_is_stopped: bool = False
    properties: cabc.Mapping[str, str] = dataclasses.field(
        default_factory=dict)
    image_properties: cabc.Mapping[str, str] | None = None
