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

"""What an image says of the file systems in it.

Nova copies the properties of an image into the instances that are made of it,
and from there into their snapshots: also into those that others than we make.
So the word counts only together with the id of the image that it was said of.
"""

import collections.abc as cabc

PROPERTY = 'nova_snap_consistency'
#: the id of the image that the word was said of
OF_PROPERTY = 'nova_snap_consistency_of'
PROPERTIES = frozenset({PROPERTY, OF_PROPERTY})

#: the guest's file systems were frozen at the point in time
FROZEN = 'frozen'
#: they were not
NOT_FROZEN = 'none'


def say(image_id: str, word: str) -> dict[str, str]:
    """Return the properties that say it of an image."""
    return {PROPERTY: word, OF_PROPERTY: image_id}


def said(image_id: str, properties: cabc.Mapping[str, str]) -> str | None:
    """Return what an image says of itself; None where that is nothing.

    What was said of another image, from which it was handed on, is ignored.
    """
    if properties.get(OF_PROPERTY) != image_id:
        return None
    return properties.get(PROPERTY)
