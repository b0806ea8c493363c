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

"""An image in a fake Glance: what Glance's API says of it, and its bytes."""

import collections.abc as cabc
import typing as ty

from nova_snap.model import image as image_model

Record = dict[str, ty.Any]


class Stored(Record):
    """One image: what Glance says of it, and its bytes.

    :ivar data: None until they are whole
    """

    def __init__(self, values: cabc.Mapping[str, ty.Any]) -> None:
        super().__init__(values)
        self.data: bytes | None = None

    def __repr__(self) -> str:
        return f'{type(self).__name__}({dict(self)!r}, {self.data!r:.80})'

    @property
    def status(self) -> str:
        """Where it is in its life."""
        return self['status']

    @status.setter
    def status(self, status: str) -> None:
        self['status'] = status

    @property
    def properties(self) -> dict[str, str]:
        """What it says besides Glance's own attributes."""
        return {name: value for name, value in self.items()
                if name not in image_model.ATTRIBUTES}


class Images(dict[str, Stored]):
    """Images by their ids; a record that is put in has no bytes yet."""

    def __setitem__(self, image_id: str, values: Record) -> None:
        super().__setitem__(image_id, values if isinstance(values, Stored)
                            else Stored(values))


def of_spec(spec: image_model.ImageSpec) -> Record:
    """Say what an image is asked for with, in the words of Glance's API."""
    values = {'id': spec.image_id, 'name': spec.name,
              'disk_format': spec.disk_format,
              'container_format': spec.container_format,
              'min_disk': spec.min_disk, 'min_ram': spec.min_ram,
              'visibility': spec.visibility, **spec.properties}
    if spec.owner is not None:
        values['owner'] = spec.owner
    return values
