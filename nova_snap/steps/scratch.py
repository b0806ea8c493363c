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

"""The directory for the delta and the flat image."""

import dataclasses

from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module


@dataclasses.dataclass
class MakeScratch(step_module.Step):
    """Hold: a private directory below ``snapshots_directory``."""

    path: str

    def do(self, world: world_module.World) -> None:
        """Make it.

        :raises StorageError: when it cannot be made; nothing is there
        """
        world.files.make_scratch(self.path)

    def undo(self, world: world_module.World) -> None:
        """Remove it with all that is in it.

        :raises StorageError: when something in it cannot be removed
        """
        world.files.remove_scratch(self.path)
