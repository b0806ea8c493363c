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

"""The product at work: on one guest, in one flow."""

import dataclasses
import typing as ty

from tests.faults import children as children_module
from tests.faults import flows as flows_module
from tests.faults import scene as scene_module
from tests.lab.guest import domain as guest_domain


@dataclasses.dataclass
class Trial:
    """What the acts and the scenarios of a case work with.

    :ivar config: the path of a nova.conf
    :ivar boot: another boot of the machine than the real one, from when it
        is set
    """

    scene: scene_module.Scene
    flow: flows_module.Flow
    guest: guest_domain.Guest
    config: str
    boot: str = ''

    @classmethod
    def of(cls, scene: scene_module.Scene, flow: flows_module.Flow,
           guest: guest_domain.Guest, *, on_small: bool = False) -> 'Trial':
        """Write its nova.conf.

        :param on_small: as of :meth:`scene.Scene.config`
        """
        return cls(scene, flow, guest,
                   str(scene.config(flow, on_small=on_small)))

    def take(self, number: int = 0, *,
             guest: guest_domain.Guest | None = None,
             first: tuple[str, ...] = (), extra: tuple[str, ...] = (),
             image: str = scene_module.IMAGE, **order: ty.Any
             ) -> children_module.Ended:
        """Take a snapshot, in the first child or the second.

        :param guest: another one
        :param first: arguments of ``nova-snap``
        :param extra: more of ``image-create``
        :param order: other fields of ``child.Order``
        """
        return self.scene.children[number].run(
            '--config-file', self.config, *first, 'image-create',
            (guest or self.guest).spec.uuid, image, *self.flow.arguments,
            *extra, boot=self.boot, **order)

    def recover(self, number: int = 0,
                **order: ty.Any) -> children_module.Ended:
        """Run ``nova-snap recover``, in the first child or the second."""
        return self.scene.children[number].run(
            '--config-file', self.config, 'recover', '--json',
            boot=self.boot, **order)
