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

"""What must be true after a case, whatever happened in it."""

import contextlib
import json
import os
import pathlib
import shutil

import libvirt

from tests.e2e import cloud as cloud_module
from tests.e2e import layout
from tests.e2e import server as server_module
from tests.e2e import waiting
from tests.lab import ceph as ceph_module
from tests.lab import errors
from tests.lab import process
from tests.lab import proof

# Seconds for a nova-compute that was killed to put everything in order; its
# periodic tasks may do a part.
SETTLE_TIMEOUT = 90


def expect(true: object, words: str) -> None:
    """Say what is wrong, unless it is right.

    :raises ProofFailed: with these words
    """
    if not true:
        raise errors.ProofFailed(words)


def is_whole(server: server_module.Server, qemu_pid: int | None) -> None:
    """Check that a running guest was not touched, or put back.

    :param qemu_pid: what it has to be, where it must not have changed
    :raises ProofFailed: naming what is wrong
    """
    with server.domain() as domain:
        state, _ = domain.state()
        expect(domain.isActive(), 'the guest is not running')
        expect(state == libvirt.VIR_DOMAIN_RUNNING,
               f'the guest is in state {state}, not running')
        expect(domain.isPersistent(), 'the domain is transient')
        expect(not domain.hasManagedSaveImage(),
               'the guest has a managed-save image')
        job = domain.blockJobInfo('vda')
        expect(not job, f'there is a block job: {job}')
    expect(qemu_pid in (None, server.qemu_pid()), 'QEMU was started again')
    server.wait_writing()


def nothing_is_left(cloud: cloud_module.Cloud, *,
                    timeout: float = SETTLE_TIMEOUT) -> None:
    """Check that no snapshot is under way and none left anything.

    :raises LabError: naming what is still there after the time
    """
    seen: list[str] = []

    def is_clean() -> bool:
        seen[:] = [*_snapshot_files(cloud), *_unfinished_images(cloud),
                   *_converters(cloud), *_in_ceph(cloud)]
        # A program to start: only where all the rest is clean.
        seen.extend([] if seen else _records(cloud))
        return not seen

    try:
        waiting.wait_until(is_clean, timeout=timeout, what='')
    except errors.LabError:
        raise errors.ProofFailed(f'after {timeout:.0f} s there are still '
                                 f'{", ".join(seen)}') from None


def remove_snapshot_files(cloud: cloud_module.Cloud) -> None:
    """Remove what a case that failed has left."""
    for path in _snapshot_paths(cloud):
        shutil.rmtree(path)


def _snapshot_paths(cloud: cloud_module.Cloud) -> list[pathlib.Path]:
    folder = cloud.layout.snapshots
    return list(folder.iterdir()) if folder.exists() else []


def _snapshot_files(cloud: cloud_module.Cloud) -> list[str]:
    return [str(path.relative_to(cloud.layout.instances))
            for path in _snapshot_paths(cloud)]


def _unfinished_images(cloud: cloud_module.Cloud) -> list[str]:
    return [f'image {image.name} ({image.status})'
            for image in cloud.customer.image.images()
            if image.status != 'active']


def _in_ceph(cloud: cloud_module.Cloud) -> list[str]:
    """List what no image of Glance and no disk of Nova has in Ceph."""
    if not cloud.has_images_in_ceph:
        return []
    ceph = cloud.volumes.ceph
    known = {image.id for image in cloud.customer.image.images()}
    return [*(f'data of image {image}'
              for image in ceph.images(ceph_module.IMAGES)
              if image not in known),
            *(f'snapshot {snapshot} of {disk}'
              for disk in ceph.images(ceph_module.DISKS)
              for snapshot in ceph.snapshots(disk, ceph_module.DISKS))]


def _converters(cloud: cloud_module.Cloud) -> list[str]:
    """List the qemu-img processes that work below the cloud's folder."""
    return [f'qemu-img (pid {pid})' for pid, command in processes('qemu-img')
            if str(cloud.layout.run_dir) in command]


def _records(cloud: cloud_module.Cloud) -> list[str]:
    """List what ``nova-snap status`` lists."""
    if not cloud.is_ours:
        return []
    listed = process.run([layout.program('nova', 'nova-snap'), 'status',
                          '--json'])
    return [f'record {found.get("record")} ({found["reason"]})'
            for found in json.loads(listed)]


def processes(program: str) -> list[tuple[int, str]]:
    """List the processes of a program with their command lines."""
    found = []
    for folder in pathlib.Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            words = (folder / 'cmdline').read_bytes().split(b'\0')
            if words and os.path.basename(words[0]) == program.encode():
                found.append((int(folder.name),
                              b' '.join(words).decode(errors='replace')))
    return found


def stored_image_is_sound(cloud: cloud_module.Cloud, image_id: str,
                          fmt: str) -> None:
    """Check that what Glance has stands alone and is of its format.

    :raises ProofFailed: naming what is wrong
    """
    if not cloud.has_images_in_ceph:
        proof.assert_sound(cloud.layout.stored_images / image_id, fmt)
        return
    path = cloud.layout.run_dir / 'exported'
    cloud.volumes.ceph.export(f'{image_id}@snap', path, ceph_module.IMAGES)
    try:
        proof.assert_sound(path, fmt)
    finally:
        path.unlink()
