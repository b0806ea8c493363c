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

from nova_snap.model import consistency as consistency_model
from nova_snap.model import image as image_model
from nova_snap.model import image_set
from nova_snap.model import request as request_model
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module


@dataclasses.dataclass
class CreateImage(step_module.Step):
    """Artifact: the image. Its id is ours, so a crash cannot hide it.

    :ivar spec: as :meth:`nova_snap.model.image.ImageSpec.to_dict` has it
    """

    spec: dict[str, ty.Any]

    def again(self, image_id: str, word: str) -> 'CreateImage':
        """Return the step that makes the same image under another id.

        :param word: how consistent it is
        """
        properties = self.spec['properties']
        place = image_set.said(self.spec['image_id'], properties)
        return CreateImage({
            **self.spec, 'image_id': image_id, 'properties': {
                **properties, **image_set.say(image_id, place),
                **consistency_model.say(image_id, word)}})

    def do(self, world: world_module.World) -> None:
        """Create the record, still without data.

        :raises ImageServiceError: when Glance does not take it; it may be
            there all the same, if the answer was lost
        """
        made = world.images.create(
            image_model.ImageSpec.from_dict(self.spec))
        # Another process that settles this may be of another project.
        self.spec['owner'] = made.owner or self.spec['owner']

    def undo(self, world: world_module.World) -> None:
        """Delete the image, with its data.

        :raises ImageServiceError: when Glance does not delete it
        """
        world.images.delete(self.spec['image_id'], owner=self.spec['owner'])


@dataclasses.dataclass
class AdoptImage(step_module.Step):
    """Artifact: an image whose record was made before.

    :ivar owner: the project whose image it is, where that is known
    :ivar deleted_by: who deletes the image when the snapshot fails. Not for
        the journal: Nova deletes it only while it waits for this process.
        After a crash Nova does not know that nothing will be sent any more,
        and it is ours to delete
    """

    image_id: str
    owner: str | None = None

    def __post_init__(self) -> None:
        self.deleted_by = request_model.Party.US

    @classmethod
    def of_nova(cls, image: request_model.RequestedImage) -> 'AdoptImage':
        """Take over an image whose snapshot Nova waits for."""
        adopted = cls(image.image_id, image.owner)
        adopted.deleted_by = request_model.Party.NOVA
        return adopted

    def do(self, world: world_module.World) -> None:
        """Do nothing: it is there."""

    def undo(self, world: world_module.World) -> None:
        """Delete the image if its data never became whole, unless Nova does.

        :raises ImageServiceError: when Glance does not delete it
        """
        if self.deleted_by == request_model.Party.US:
            world.images.discard_unfinished(self.image_id, owner=self.owner)


@dataclasses.dataclass
class DiscardImage(step_module.Step):
    """Artifact: an image that was made before and must not be used.

    It is active, and has other bytes than it should have.

    :ivar owner: the project whose image it is, where that is known
    """

    image_id: str
    owner: str | None

    def do(self, world: world_module.World) -> None:
        """Do nothing: the image goes with the operation, which failed."""

    def undo(self, world: world_module.World) -> None:
        """Delete the image, with its data.

        :raises ImageServiceError: when Glance does not delete it
        """
        world.images.delete(self.image_id, owner=self.owner)
