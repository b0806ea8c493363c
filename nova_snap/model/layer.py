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

"""A layer of a disk, and the storage that it lies on."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Layer:
    """One file of a backing chain and the format libvirt opens it with.

    :ivar is_local: a file or a block device; otherwise ``path`` is a name on
        another host or a description, which must not be taken for a file
    """

    path: str
    format: str
    is_block: bool = False
    is_local: bool = True
