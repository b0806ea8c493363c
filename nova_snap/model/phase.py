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

"""The parts of a snapshot that take their time."""

from nova_snap import compat


class Phase(compat.StrEnum):
    """What is being done; each has bytes to count."""

    #: the active layer is copied while the guest runs
    MIRROR = 'mirror'
    #: the flat image is written
    CONVERT = 'convert'
    #: its bytes go to Glance
    UPLOAD = 'upload'
    #: Ceph gives a clone its data
    FLATTEN = 'flatten'
    #: this host reads an image in Ceph once
    HASH = 'hash'
    #: Cinder makes its snapshots
    VOLUMES = 'volumes'
