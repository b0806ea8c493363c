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

"""What stands for Glance and Cinder where there are no credentials.

A recovery must let a guest go also where nothing says how to sign in: only
what needs Glance or Cinder fails, and says why.
"""

import collections.abc as cabc
import typing as ty

from nova_snap import errors
from nova_snap.model import disk_work as disk_work_model
from nova_snap.model import image as image_model
from nova_snap.model import stream
from nova_snap.model import volumes as volumes_model
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.services.glance import images as images_module


class SignedOut(images_module.Images):
    """Refuses every call.

    :param reason: why we are not signed in
    """

    def __init__(self, reason: errors.ConfigError) -> None:
        self._reason = reason

    def check(self, owner: str | None = None) -> None:
        raise self._reason

    def get(self, image_id: str, *,
            owner: str | None = None) -> image_model.Image | None:
        raise self._reason

    def stores(self) -> list[image_model.Store] | None:
        raise self._reason

    def location_way(self, image_id: str) -> (
            image_model.LocationWay | None):
        raise self._reason

    def why_no_location(self) -> str:
        raise self._reason

    def add_location(self, image_id: str, url: str,
                     way: image_model.LocationWay, *, size: int,
                     sha512: str | None) -> image_model.Image:
        raise self._reason

    def find(self, properties: cabc.Mapping[str, str]) -> (
            list[image_model.Image]):
        raise self._reason

    def create(self, spec: image_model.ImageSpec) -> image_model.Image:
        raise self._reason

    def set_properties(self, image_id: str,
                       properties: cabc.Mapping[str, str]) -> None:
        raise self._reason

    def upload(self, image_id: str, source: stream.Source, *,
               progress: stream.Progress | None = None,
               is_replaceable: bool = False,
               disk_work: disk_work_model.DiskWork = disk_work_model.run_now
               ) -> ty.NoReturn:
        raise self._reason

    def delete(self, image_id: str, *, owner: str | None = None) -> None:
        raise self._reason

    def discard_unfinished(self, image_id: str, *,
                           owner: str | None = None) -> None:
        raise self._reason


class SignedOutOfCinder(volumes_module.Volumes):
    """Refuses every call.

    :param reason: why we are not signed in
    """

    def __init__(self, reason: errors.ConfigError) -> None:
        self._reason = reason

    def check(self) -> None:
        raise self._reason

    def project_id(self) -> str | None:
        raise self._reason

    def acting_in(self, project_id: str | None) -> volumes_module.Volumes:
        return self

    def volume(self, volume_id: str) -> volumes_model.Volume | None:
        raise self._reason

    def limits(self) -> volumes_model.SnapshotLimits:
        raise self._reason

    def create_snapshot(self, spec: volumes_model.SnapshotSpec) -> (
            volumes_model.VolumeSnapshot):
        raise self._reason

    def find_snapshot(self, spec: volumes_model.SnapshotSpec) -> (
            volumes_model.VolumeSnapshot | None):
        raise self._reason

    def snapshot(self, snapshot_id: str) -> (
            volumes_model.VolumeSnapshot | None):
        raise self._reason

    def delete_snapshot(self, snapshot_id: str) -> None:
        raise self._reason
