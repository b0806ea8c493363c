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

"""The image's record in Glance."""

import dataclasses
import typing as ty

from nova_snap.model import image as image_model
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module


@dataclasses.dataclass
class CreateImage(step_module.Step):
    """Artifact: the image. Its id is ours, so a crash cannot hide it.

    :ivar spec: as :meth:`nova_snap.model.image.ImageSpec.to_dict` has it
    """

    spec: dict[str, ty.Any]

    def do(self, world: world_module.World) -> None:
        """Create the record, still without data.

        :raises ImageServiceError: when Glance does not take it; it may be
            there all the same, if the answer was lost
        """
        world.images.create(image_model.ImageSpec.from_dict(self.spec))

    def undo(self, world: world_module.World) -> None:
        """Delete the image, with its data.

        :raises ImageServiceError: when Glance does not delete it
        """
        world.images.delete(self.spec['image_id'])


@dataclasses.dataclass
class AdoptImage(step_module.Step):
    """Artifact: an image whose record Nova has made.

    While Nova lives it is Nova's to delete. After a crash nobody but us
    knows that nothing will be sent any more.
    """

    image_id: str

    def do(self, world: world_module.World) -> None:
        """Do nothing: it is there."""

    def undo(self, world: world_module.World) -> None:
        """Delete the image if its data never became whole.

        :raises ImageServiceError: when Glance does not delete it
        """
        world.images.discard_unfinished(self.image_id)
