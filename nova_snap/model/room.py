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

"""Room on a file system of this host, and what a snapshot needs of it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Room:
    """What is free where a path lies, bytes.

    :ivar reserved: of those that are free, for other operations under way
    """

    path: str
    free: int
    reserved: int = 0


@dataclasses.dataclass(frozen=True)
class Need:
    """What is written, bytes.

    :ivar least: that is surely written: without it a snapshot is refused
    :ivar likely: that is expected to be written, and somewhat more: so much
        is reserved
    """

    least: int = 0
    likely: int = 0

    def __add__(self, other: 'Need') -> 'Need':
        return Need(self.least + other.least, self.likely + other.likely)
