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

"""What all steps share."""

import abc
import dataclasses
import typing as ty

from nova_snap.steps import world as world_module


@dataclasses.dataclass
class Step(abc.ABC):
    """One reversible change; its fields are what the journal keeps."""

    @property
    def kind(self) -> str:
        """Return the name by which recovery finds the class."""
        return type(self).__name__

    def facts(self) -> dict[str, ty.Any]:
        """Return the fields, as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_facts(cls, facts: dict[str, ty.Any]) -> 'Step':
        """Build the step again from what :meth:`facts` returned.

        :raises TypeError: when the facts are those of another step
        """
        return cls(**facts)

    @abc.abstractmethod
    def do(self, world: world_module.World) -> None:
        """Change the world."""

    @abc.abstractmethod
    def undo(self, world: world_module.World) -> None:
        """Change it back, whatever happened; safe to call again."""
