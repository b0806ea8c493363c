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

"""Settings for a test: the defaults, below a directory that is not there."""

import dataclasses

from nova_snap.model import settings as settings_model
from nova_snap import units

DEFAULTS = settings_model.Settings(
    host='node-1', state_path='/srv/state', instances_path='/srv/instances',
    image_cache='/srv/instances/_base', compute_driver=None,
    virt_type='kvm', connection_uri='qemu:///system',
    snapshots_directory='/srv/snapshots',
    snapshots_directory_is_default=False, snapshot_image_format=None,
    snapshot_compression=False, images_cpu_time_limit=30,
    images_address_space_limit=2 * units.GiB,
    rbd_user='',
    images_rbd_ceph_conf='',
    rbd_connect_timeout=5, images_rbd_glance_store_name='',
    rbd_glance_pool=None, location_hash='auto',
    rbd_flatten='auto',
    disable_libvirt_livesnapshot=False, ephemeral_storage_encryption=False,
    non_inheritable_image_properties=frozenset(), glance_num_retries=3,
    cinder_http_retries=3, volume_snapshot_timeout=300,
    journal_dir='/srv/state/nova_snap', live_method='rebase',
    upload='file', deliver='glance', incremental='none',
    compression_type='zlib',
    ready_timeout=10800, stall_timeout=120, freeze_timeout=60,
    quiesce_limit=120,
    detach_timeout=60, save_timeout=1800, lock_timeout=5, bandwidth=0,
    verify_upload=True,
    space_reserve=units.GiB)


def make(**changes):
    """Return the defaults with some of them changed."""
    return dataclasses.replace(DEFAULTS, **changes)
