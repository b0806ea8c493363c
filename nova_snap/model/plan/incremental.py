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

"""Decide whether an image begins as the last one, with what has changed."""

from nova_snap.model import ceph as ceph_model
from nova_snap.model import checkpoint as checkpoint_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import settings as settings_model

# The values of [nova_snap]incremental.
NONE = 'none'
FLAT = 'flat'
CLONE = 'clone'

# Clones on top of each other, each of which Ceph asks in turn for what the
# one above has not.
DEEPEST = 8


def is_wanted(settings: settings_model.Settings) -> bool:
    """Tell whether the changes of guests' disks are to be known."""
    return settings.incremental != NONE


def why_not_tracked(plan: plan_model.Plan, *,
                    has_metadata: bool) -> str | None:
    """Say why the changes of a disk cannot be known from now on.

    :param has_metadata: the domain has snapshots, or checkpoints of others:
        libvirt lets none be together with ours, or ours come between
    """
    if plan.into_ceph is None:
        return 'the image is uploaded'
    if plan.method != plan_model.Method.BACKUP:
        return 'what has changed is known of a guest that runs, by a ' \
               'backup job ([nova_snap]live_method)'
    if len(plan.disks) != 1 or not plan.disks[0].is_root:
        return 'what has changed is kept of the root disk alone'
    if plan.disks[0].active_layer.format != 'qcow2':
        return (f'the disk is {plan.disks[0].active_layer.format}: QEMU keeps '
                'what has changed in a qcow2 file alone')
    if has_metadata:
        return ('libvirt has snapshots of the guest, or checkpoints of '
                'another program')
    return None


def why_not_base(kept: checkpoint_model.Kept | None, plan: plan_model.Plan,
                 settings: settings_model.Settings) -> str | None:
    """Say why an image cannot begin as the last one, from what is kept.

    :param plan: of a disk whose changes can be known
    """
    into, (disk,) = plan.into_ceph, plan.disks
    assert into is not None
    if kept is None or kept.base is None:
        return 'no image of this guest was written by this host before'
    base = kept.base
    if kept.target_dev != disk.target_dev:
        return f'the last image was of {kept.target_dev}'
    if base.size != disk.virtual_size:
        return 'the disk has another size than it had'
    if (base.fsid, base.pool) != (into.fsid, into.pool):
        return f'the last image is in pool {base.pool} of another store'
    if settings.incremental == CLONE and base.depth >= DEEPEST:
        return f'the last image is the last of {DEEPEST} clones in a row'
    return None


def why_other(base: checkpoint_model.Base,
              found: ceph_model.Image | None) -> str | None:
    """Say why what Ceph has is not the last image, if it is not."""
    if found is None:
        return f'the last image ({base.image_id}) was deleted'
    if found.identity(ceph_model.GLANCE_SNAPSHOT) != base.identity:
        return f'the last image ({base.image_id}) has other data by now'
    return None
