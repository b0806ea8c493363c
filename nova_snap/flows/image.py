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

"""From the layers of a disk at rest to one flat image in Glance."""

import collections.abc as cabc
import functools
import os

from nova_snap import errors
from nova_snap.flows import facts as facts_module
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.journal import transaction
from nova_snap.model import image as image_model
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import stream
from nova_snap.steps import world as world_module
from nova_snap.transfer import source as source_module

FLAT_NAME = 'image'
# Told as a phase, so that a door stops taking cancellations: what comes now
# cannot be taken back.
COMMIT_PHASE = 'commit'


def extract(world: world_module.World, plan: plan_model.Plan,
            chain: cabc.Sequence[layer_model.Layer], scratch: str) -> str:
    """Write the flat image and return its path.

    :param chain: layers that nothing writes to, the active one first
    :raises StorageError: when it cannot be written
    :raises ImageUnsafe: when what was written refers to another file
    """
    path = os.path.join(scratch, FLAT_NAME)
    conversion = qemu_img_module.Conversion(
        image_format=plan.image_format, compress=plan.compress,
        bandwidth=world.settings.bandwidth,
        expected=min(plan.virtual_size, plan.allocated),
        stall_timeout=world.settings.stall_timeout)
    world.qemu_img.convert(chain, path, conversion,
                           progress=functools.partial(world.progress,
                                                      'convert'))
    inspect(world, plan, path)
    return path


def refuse_other_chain(world: world_module.World,
                       plan: plan_model.Plan) -> None:
    """Demand that the root disk still is what the plan was made for.

    Somebody may have taken a snapshot or ended a block job since. To be
    called when nobody can any more: the mirror runs, or the guest is off.
    Of a guest that is off the headers are asked: its XML knows the active
    layer alone. The active layer of one that was running, which the plan
    could not look into, is looked into then, too.

    :raises StorageError: when it is not: the image would lack a layer, or
        have one too many
    """
    domain = world.host.domain(plan.instance_uuid)
    model = domain.model()
    if plan.method == plan_model.Method.LIVE:
        if not domain.is_active():
            # Its mirror is gone too, and whoever waits for that says so.
            return
        disk = model.root_disk
        found = () if disk is None else (disk.active_layer, *disk.backing)
    else:
        try:
            found = facts_module.chain_at_rest(world, model)
        except errors.Refused as exc:
            # The guest was touched: it is too late to refuse.
            raise errors.StorageError(reason=str(exc)) from exc
    for layer in found:
        if not layer.is_local:
            # libvirt has found a file behind it, and we do not look for it.
            raise errors.StorageError(
                reason=f'The header of a layer of {plan.chain[0].path} '
                       f'describes the one below it ({layer.path}) in '
                       'another way than by its path; take it live')
    if not _is_same(plan.chain, found):
        raise errors.StorageError(
            reason=f'The root disk of {plan.instance_name} was changed '
                   'while the snapshot was prepared; take it again')


def _is_same(planned: cabc.Sequence[layer_model.Layer],
             found: cabc.Sequence[layer_model.Layer]) -> bool:
    """Tell whether two chains are of the same files in the same formats.

    A header need not name the format of the layer below it, and libvirt may
    have started the guest all the same: the plan has it from its XML.
    """
    return len(planned) == len(found) and all(
        old.path == new.path and new.format in ('', old.format)
        for old, new in zip(planned, found, strict=True))


def inspect(world: world_module.World, plan: plan_model.Plan,
            path: str) -> None:
    """Demand that the file is what we say it is, and whole in itself.

    :raises ImageUnsafe: when it is not
    :raises StorageError: when it is not even of the claimed format
    :source: CVE-2015-7548, CVE-2024-32498
    """
    info = world.qemu_img.info(path, plan.image_format)
    for what, value in (('a backing file', info.backing_file),
                        ('a data file', info.data_file)):
        if value is not None:
            raise errors.ImageUnsafe(path=path,
                                     reason=f'it has {what} ({value})')
    if info.virtual_size < plan.virtual_size:
        raise errors.ImageUnsafe(
            path=path, reason=f'it holds {info.virtual_size} bytes of a '
                              f'disk of {plan.virtual_size}')


def deliver(txn: transaction.Transaction, image_id: str,
            path: str) -> image_model.Image:
    """Upload the flat image, prove it whole in Glance, and commit.

    :raises ImageServiceError: when Glance has not got it all; not committed
    :raises JournalError: when the commit cannot be written; not committed
    """
    world: world_module.World = txn.world
    return deliver_source(txn, image_id, source_module.FileSource(
        path, bandwidth=world.settings.bandwidth, clock=world.clock))


def deliver_source(txn: transaction.Transaction, image_id: str,
                   source: stream.Source) -> image_model.Image:
    """Upload a source, as :func:`deliver` does a file."""
    world: world_module.World = txn.world
    image = world.images.upload(
        image_id, source,
        progress=functools.partial(world.progress, 'upload'))
    world.progress(COMMIT_PHASE, 0, 0)
    txn.commit()
    return image
