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

"""The options as values: built whole at start, then handed down, frozen.

Nothing below the two doors reads oslo.config.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the operator set, in bytes and seconds.

    :ivar image_cache: the full path of Nova's cache of images
    :ivar snapshots_directory_is_default: no value was set, so the directory
        is made when it is missing, as Nova makes it
    :ivar snapshot_image_format: None for the format of the source
    :ivar rbd_user: '' where Nova reaches Ceph as librados' own user
    :ivar rbd_glance_pool: None where Glance, or the image, tells it
    :ivar images_rbd_ceph_conf: '' for those that librados looks for itself
    :ivar ready_timeout: seconds for one mirror, from start to ready
    :ivar stall_timeout: seconds without progress before a copy is given up
    :ivar bandwidth: bytes per second; 0 is no limit
    :ivar space_reserve: bytes that snapshots leave free
    """

    host: str
    state_path: str
    instances_path: str
    image_cache: str
    compute_driver: str | None

    virt_type: str
    connection_uri: str
    snapshots_directory: str
    snapshots_directory_is_default: bool
    snapshot_image_format: str | None
    snapshot_compression: bool
    images_cpu_time_limit: int
    images_address_space_limit: int
    rbd_user: str
    images_rbd_ceph_conf: str
    rbd_connect_timeout: int
    images_rbd_glance_store_name: str

    disable_libvirt_livesnapshot: bool
    ephemeral_storage_encryption: bool
    non_inheritable_image_properties: frozenset[str]
    glance_num_retries: int
    cinder_http_retries: int

    journal_dir: str
    live_method: str
    upload: str
    rbd_glance_pool: str | None
    rbd_flatten: str
    location_hash: str
    deliver: str
    incremental: str
    compression_type: str
    ready_timeout: int
    stall_timeout: int
    freeze_timeout: int
    quiesce_limit: int
    volume_snapshot_timeout: int
    detach_timeout: int
    save_timeout: int
    lock_timeout: int
    bandwidth: int
    verify_upload: bool
    space_reserve: int
