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

"""The cases, in the order in which they are run.

Neighbours have the same options of nova-compute: it is not restarted
between them.
"""

import collections.abc
import dataclasses

from tests.e2e.cases import by_backup
from tests.e2e.cases import ceph_faults
from tests.e2e.cases import in_ceph
from tests.e2e.cases import incremental
from tests.e2e.cases import kills
from tests.e2e.cases import requests
from tests.e2e.cases import snapshots
from tests.e2e.cases import stop
from tests.e2e.cases import volumes as volumes_cases
from tests.e2e import compute
from tests.e2e import scene as scenes


def _as_installed(_: scenes.Scene) -> compute.Options:
    return {}


def _without_live(_: scenes.Scene) -> compute.Options:
    return {'workarounds': {'disable_libvirt_livesnapshot': True}}


def _raw(_: scenes.Scene) -> compute.Options:
    return {'libvirt': {'snapshot_image_format': 'raw'}}


def _crawling(_: scenes.Scene) -> compute.Options:
    return {'nova_snap': {'bandwidth': stop.CRAWLING},
            'DEFAULT': {'graceful_shutdown_timeout': stop.GRACEFUL_SHUTDOWN}}


def _by_backup(_: scenes.Scene) -> compute.Options:
    return {'nova_snap': {'live_method': 'backup'}}


def _slowly_by_backup(scene: scenes.Scene) -> compute.Options:
    options = dict(scene.slowly())
    options['nova_snap'] = {**options['nova_snap'], 'live_method': 'backup'}
    return options


def _crawling_by_backup(scene: scenes.Scene) -> compute.Options:
    options = dict(_crawling(scene))
    options['nova_snap'] = {**options['nova_snap'], 'live_method': 'backup'}
    return options


def _thawing_soon(_: scenes.Scene) -> compute.Options:
    return {'nova_snap': {'quiesce_limit': volumes_cases.SOON}}


@dataclasses.dataclass(frozen=True)
class Case:
    """One case.

    :ivar options: that nova-compute runs with
    """

    name: str
    run: collections.abc.Callable[[scenes.Scene], None]
    options: collections.abc.Callable[[scenes.Scene], compute.Options]


CASES = (
    Case('live', snapshots.live, _as_installed),
    Case('paused', snapshots.paused, _as_installed),
    Case('suspended', snapshots.suspended, _as_installed),
    Case('stopped', snapshots.stopped, _as_installed),
    Case('backup', snapshots.backup, _as_installed),
    Case('shelve', snapshots.shelve, _as_installed),
    Case('raw', snapshots.raw, _raw),
    Case('live-disabled', snapshots.live_disabled, _without_live),
    Case('killed-while-saved', kills.while_saved, _without_live),
    Case('progress', requests.progress, scenes.Scene.slowly),
    Case('token-expires', requests.token_expires, scenes.Scene.slowly),
    Case('killed-in-mirror', kills.in_mirror, scenes.Scene.slowly),
    Case('killed-in-convert', kills.in_convert, scenes.Scene.slowly),
    Case('killed-in-upload', kills.in_upload, scenes.Scene.slowly),
    Case('stop', stop.stop, _crawling),
    Case('backup-job-shelve', snapshots.shelve, _by_backup),
    Case('backup-job-rotation', snapshots.backup, _by_backup),
    Case('backup-job', by_backup.live, _slowly_by_backup),
    Case('backup-job-paused', snapshots.paused, _slowly_by_backup),
    Case('backup-job-killed', by_backup.killed, _slowly_by_backup),
    Case('backup-job-deleted', by_backup.deleted, _slowly_by_backup),
    Case('backup-job-attach', by_backup.attached, _slowly_by_backup),
    Case('backup-job-stop', by_backup.stopped, _crawling_by_backup),
    Case('volumes', volumes_cases.by_nova, _as_installed),
    Case('volumes-by-command', volumes_cases.by_command, _as_installed),
    Case('api-killed-in-freeze', volumes_cases.api_is_killed, _thawing_soon),
    Case('thaw-is-late', volumes_cases.thaw_is_late, _thawing_soon),
    Case('as-novas', in_ceph.as_novas, _as_installed),
    Case('ceph', in_ceph.by_ceph(snapshots.live), scenes.Scene.in_ceph),
    Case('ceph-stopped', in_ceph.by_ceph(snapshots.stopped),
         scenes.Scene.in_ceph),
    Case('ceph-backup', in_ceph.by_ceph(snapshots.backup),
         scenes.Scene.in_ceph),
    Case('ceph-shelve', in_ceph.by_ceph(snapshots.shelve),
         scenes.Scene.in_ceph),
    Case('ceph-lives', in_ceph.by_ceph(in_ceph.lives), scenes.Scene.in_ceph),
    Case('ceph-killed-in-clone', in_ceph.killed_in_clone,
         scenes.Scene.in_ceph),
    Case('ceph-killed-in-flatten', in_ceph.killed_in_flatten,
         scenes.Scene.in_ceph),
    Case('ceph-killed-in-location', in_ceph.killed_in_location,
         scenes.Scene.in_ceph),
    Case('ceph-as-novas', in_ceph.as_novas, scenes.Scene.in_ceph),
    Case('ceph-dead-osd', ceph_faults.dead_osd, scenes.Scene.in_ceph),
    Case('ceph-wrong-key', ceph_faults.wrong_key, scenes.Scene.in_ceph),
    Case('ceph-small-caps', ceph_faults.small_caps, scenes.Scene.in_ceph),
    Case('ceph-no-pool', ceph_faults.no_pool, scenes.Scene.in_ceph),
    Case('into-ceph', in_ceph.by_ceph(snapshots.live),
         scenes.Scene.into_ceph),
    Case('into-ceph-killed', in_ceph.killed_in_write,
         scenes.Scene.into_ceph),
    Case('incremental-flat', in_ceph.by_ceph(incremental.in_a_row),
         incremental.flat),
    Case('incremental-resized', incremental.resized, incremental.flat),
    Case('incremental-clone', in_ceph.by_ceph(incremental.in_a_row),
         incremental.clone),
)
