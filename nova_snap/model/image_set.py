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

"""What an image says of the set that it is one of.

A set has one image of each local disk of a guest, all of one moment. An
image keeps its place in it when another one has to take its place in Glance,
so the others are found by the set, not by ids. As with
:mod:`nova_snap.model.consistency`, Nova hands these properties on to images
of which they are not true: they count only together with the id of the image
that they were said of.
"""

import collections.abc as cabc
import dataclasses

#: the id of the set, the same on each of its images
SET_PROPERTY = 'nova_snap_set'
#: the targets of all disks in the set, the same on each of its images
DISKS_PROPERTY = 'nova_snap_set_disks'
#: the id of the image that this was said of
OF_PROPERTY = 'nova_snap_set_of'
#: the target of the disk that the image was made of
DISK_PROPERTY = 'nova_snap_disk'
PROPERTIES = frozenset({SET_PROPERTY, DISKS_PROPERTY, OF_PROPERTY,
                        DISK_PROPERTY})


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of an image in a set.

    :ivar disk: the target of its disk
    :ivar disks: the targets of all disks of the set, its own too
    """

    set_id: str
    disk: str
    disks: tuple[str, ...]


def say(image_id: str, place: Place | None) -> dict[str, str]:
    """Return the properties that say it of an image; none without a set."""
    if place is None:
        return {}
    return {SET_PROPERTY: place.set_id,
            DISKS_PROPERTY: ','.join(place.disks),
            OF_PROPERTY: image_id,
            DISK_PROPERTY: place.disk}


def said(image_id: str, properties: cabc.Mapping[str, str]) -> Place | None:
    """Return what an image says of itself; None where that is nothing.

    What was said of another image, from which it was handed on, is ignored.
    """
    set_id = properties.get(SET_PROPERTY)
    if not set_id or properties.get(OF_PROPERTY) != image_id:
        return None
    disks = properties.get(DISKS_PROPERTY, '')
    return Place(set_id, properties.get(DISK_PROPERTY, ''),
                 tuple(disks.split(',')) if disks else ())
