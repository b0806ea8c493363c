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

"""From the layers of disks at rest to images in Glance.

The tail that live, cold and stopped snapshots share: flat images are written
and looked at, uploaded, and then committed, all of them at once.
"""

import collections.abc as cabc
import contextlib
import dataclasses
import http
import os
import typing as ty

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.flows import facts as facts_module
from nova_snap.flows import image_format as format_flow
from nova_snap.flows import into_ceph as into_ceph_flow
from nova_snap.flows import room as room_flow
from nova_snap.flows import upload as upload_flow
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.model import consistency as consistency_model
from nova_snap.model import domain as domain_model
from nova_snap.model import image as image_model
from nova_snap.model import layer as layer_model
from nova_snap.model import phase as phase_model
from nova_snap.model.plan import image_format as format_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import request as request_model
from nova_snap.model import result as result_model
from nova_snap.model import stream
from nova_snap.steps import world as world_module
from nova_snap.transfer import source as source_module

LOG = logging.getLogger(__name__)

# With the target of the disk, where there are several.
FLAT_NAME = 'image'
# Of the active layer, with the target of the disk.
CLONE_NAME = 'clone-{}'
# Of the socket of a disk, with its target.
SOCKET_NAME = 'nbd-{}'

Chain = cabc.Sequence[layer_model.Layer]


def _has_none() -> None:
    """End no turn at the disk: the caller has none."""


class AtRest:
    """The disks of a guest that must not start while they are read.

    qemu-img's lock keeps a guest from its disk, but not on each file system.
    """

    def __init__(self, world: world_module.World,
                 plan: plan_model.Plan) -> None:
        """Remember how they are.

        :raises StorageError: when one was changed since the plan was made
        """
        refuse_other_chains(world, plan)
        self._world = world
        self._plan = plan
        self._before = _changed_at(world, plan)

    def check(self) -> None:
        """Refuse what was read if the guest has run since.

        :raises StorageError: then
        """
        world, plan = self._world, self._plan
        if (world.host.domain(plan.instance_uuid).is_active()
                or _changed_at(world, plan) != self._before):
            raise errors.StorageError(
                reason=f'{plan.instance_name} was started while its disk was '
                       'read: what was read is of no one moment. Take the '
                       'snapshot again')


class Opened(ty.NamedTuple):
    """The images of disks at rest, to be read.

    :ivar plan: with the formats that Glance takes
    :ivar sources: of the plan's images, in their order
    :ivar check: raises StorageError when the guest has run since
    """

    plan: plan_model.Plan
    sources: list[stream.Source]
    check: cabc.Callable[[], None]


@contextlib.contextmanager
def at_rest(world: world_module.World, plan: plan_model.Plan, scratch: str,
            rest: AtRest) -> cabc.Iterator[Opened]:
    """Have the image of each disk, as it lies there, for the block.

    In a turn at the disk, which the caller has: its guest may stand still.

    :raises StorageError: when a disk is in use or has changed since, or when
        one image cannot be written
    :raises ImageUnsafe: when what was written refers to another file
    """
    plan = format_flow.settled(world, plan)
    with contextlib.ExitStack() as opened:
        sources = [opened.enter_context(
            source(world, image, image.disk.chain, scratch))
            for image in plan.images]
        rest.check()
        yield Opened(plan, sources, rest.check)


def cloned(world: world_module.World, plan: plan_model.Plan, scratch: str,
           rest: AtRest) -> list[Chain] | None:
    """Keep the disks of a guest that is saved: it need not wait any longer.

    :returns: the chain of each, over a clone of its active layer; None where
        the file system has no clones
    :raises StorageError: when the guest has run since
    """
    chains: list[Chain] = []
    for disk in plan.disks:
        active, *backing = disk.chain
        path = os.path.join(scratch, CLONE_NAME.format(disk.target_dev))
        # In use all the same, it is left to qemu-img to refuse.
        if (active.storage != layer_model.Storage.FILE
                or world.files.is_held(active.path)
                or not world.files.clone(active.path, path)):
            return None
        chains.append((layer_model.Layer(path, active.format), *backing))
    rest.check()
    return chains


@contextlib.contextmanager
def kept(world: world_module.World, plan: plan_model.Plan,
         chains: cabc.Sequence[Chain],
         scratch: str) -> cabc.Iterator[Opened]:
    """Have the image of each disk that was kept, for the block.

    :param chains: of :func:`cloned`
    :raises StorageError: when one image cannot be written
    """
    plan = format_flow.settled(world, plan, chains)
    if world.settings.upload == 'stream' or plan.into_ceph is not None:
        plan = dataclasses.replace(plan, images=tuple(
            dataclasses.replace(image, is_streamed=plan_model.can_be_streamed(
                image.image_format, compress=image.compress))
            for image in plan.images))
    with contextlib.ExitStack() as opened:
        yield Opened(plan, [
            opened.enter_context(source(world, image, chain, scratch))
            for image, chain in zip(plan.images, chains, strict=True)],
            lambda: None)


@contextlib.contextmanager
def source(world: world_module.World, image: plan_model.PlannedImage,
           chain: Chain, scratch: str, *,
           bitmap: str = '') -> cabc.Iterator[stream.Source]:
    """Have one image for the block: a file, or the disk itself.

    In a turn at the disk, which the caller has: its guest may wait for it.

    :param chain: layers that nothing writes to, the active one first; or a
        disk that is served
    :param bitmap: of a disk that is served, what has changed in it
    :raises StorageError: when a layer cannot be read, or the file not be
        written
    :raises ImageUnsafe: when what was written refers to another file
    """
    if image.is_streamed:
        with world.exports.source(
                chain, image_format=image.image_format,
                virtual_size=image.disk.virtual_size,
                socket=os.path.join(
                    scratch, SOCKET_NAME.format(image.disk.target_dev)),
                bandwidth=world.settings.bandwidth,
                clock=world.clock, bitmap=bitmap) as streamed:
            # Those that are open now are read to the end.
            _refuse_replaced(world, image.disk.chain[1:],
                             image.disk.files[1:])
            yield streamed
    else:
        yield source_module.FileSource(
            extract(world, image, chain, scratch),
            bandwidth=world.settings.bandwidth, clock=world.clock)


def _changed_at(world: world_module.World,
                plan: plan_model.Plan) -> list[int]:
    """Return when the disks were last written to, as far as that is kept.

    A guest that was started and is off again has left its time there. A
    block device has none.
    """
    return [world.files.changed_at(disk.active_layer.path)
            for disk in plan.disks
            if disk.active_layer.storage == layer_model.Storage.FILE]


def extract(world: world_module.World, image: plan_model.PlannedImage,
            chain: Chain, scratch: str) -> str:
    """Write one flat image and return its path.

    :param chain: layers that nothing writes to, the active one first
    :raises SpaceReserveReached: when too little is free in the end
    :raises StorageError: when it cannot be written
    :raises ImageUnsafe: when what was written refers to another file
    """
    disk = image.disk
    path = os.path.join(scratch, f'{FLAT_NAME}-{disk.target_dev}')
    conversion = qemu_img_module.Conversion(
        image_format=image.image_format,
        compression=world.settings.compression_type if image.compress else '',
        bandwidth=world.settings.bandwidth,
        expected=min(disk.virtual_size, disk.allocated),
        stall_timeout=world.settings.stall_timeout)
    world.observer.begins(phase_model.Phase.CONVERT)
    world.qemu_img.convert(chain, path, conversion,
                           progress=room_flow.watched_progress(world))
    inspect(world, image, path)
    # The active one may be the guest's again.
    _refuse_replaced(world, disk.chain[1:], disk.files[1:])
    return path


def refuse_other_chains(world: world_module.World,
                        plan: plan_model.Plan) -> None:
    """Refuse disks that are not any more what the plan was made for.

    A snapshot may have been taken of one since, or a block job have ended.
    To be called when no other program can do so any more: the mirror runs,
    or the guest is off. Of a guest that is off the headers are asked: its
    XML knows the active layer alone. The active layer of one that was
    running, which the plan could not look into, is looked into then, too.

    :raises StorageError: when one is not: the image would lack a layer, or
        have one too many
    """
    domain = world.host.domain(plan.instance_uuid)
    model = domain.model()
    is_live = plan.method in plan_model.LIVE_METHODS or (
        plan.method == plan_model.Method.DIRECT
        and plan.state != domain_model.State.SHUTOFF) or (
        plan.is_held and domain.is_active())
    if is_live and not domain.is_active():
        # Its block job is gone too, and what comes next says so.
        return
    for planned in plan.disks:
        disk = model.disk(planned.target_dev)
        found: Chain = ()
        if disk is not None and is_live:
            found = disk.active_layer, *disk.backing
        elif disk is not None:
            found = _chain_at_rest(world, model.name, disk)
        _refuse_other_chain(plan.instance_name, planned.chain, found)
        _refuse_replaced(world, planned.chain, planned.files)


def _chain_at_rest(world: world_module.World, instance: str,
                   disk: domain_model.Disk) -> Chain:
    try:
        return facts_module.chain_at_rest(world, instance, disk)
    except errors.Refused as exc:
        # The guest was touched: it is too late to refuse.
        raise errors.StorageError(reason=str(exc)) from exc


def _refuse_other_chain(instance: str, planned: Chain, found: Chain) -> None:
    for layer in found[1:]:
        if not layer.is_local:
            # libvirt has found a file behind it, and we do not look for it.
            raise errors.StorageError(
                reason=f'The header of a layer of {planned[0].path} '
                       f'describes the one below it ({layer.path}) in '
                       'another way than by its path; take it live')
    if not _is_same(planned, found):
        raise errors.StorageError(
            reason=f'The disk {planned[0].path} of {instance} was changed '
                   'while the snapshot was prepared; take it again')


def _refuse_replaced(
        world: world_module.World, chain: Chain,
        planned: cabc.Sequence[layer_model.FileId | None]) -> None:
    """Refuse files that took the place of those that the plan has seen.

    :raises StorageError: when one did, or cannot be looked at
    """
    found = facts_module.file_ids(world, chain)
    for layer, old, new in zip(chain, planned, found, strict=True):
        if old != new:
            raise errors.StorageError(
                reason=f'{layer.path} was replaced by another file while '
                       'the snapshot was taken; take it again')


def _is_same(planned: Chain, found: Chain) -> bool:
    """Tell whether two chains are of the same files in the same formats.

    A header need not name the format of the layer below it, and libvirt may
    have started the guest all the same: the plan has it from its XML.
    """
    return len(planned) == len(found) and (
        planned[0].storage == found[0].storage) and all(
        old.path == new.path and new.format in ('', old.format)
        for old, new in zip(planned, found, strict=True))


def inspect(world: world_module.World, image: plan_model.PlannedImage,
            path: str) -> None:
    """Refuse a flat image that is not what we say it is, whole in itself.

    :raises ImageUnsafe: when it is not
    :raises StorageError: when it is not even of the claimed format
    :source: CVE-2015-7548, CVE-2024-32498
    """
    info = world.qemu_img.info(path, image.image_format)
    for what, value in (('a backing file', info.backing_file),
                        ('a data file', info.data_file)):
        if value is not None:
            raise errors.ImageUnsafe(path=path,
                                     reason=f'it has {what} ({value})')
    if info.virtual_size < image.disk.virtual_size:
        raise errors.ImageUnsafe(
            path=path, reason=f'it holds {info.virtual_size} bytes of a '
                              f'disk of {image.disk.virtual_size}')


def deliver(txn: world_module.Transaction, plan: plan_model.Plan,
            sources: cabc.Sequence[stream.Source], consistency: str, *,
            check: cabc.Callable[[], object] | None = None,
            end_turn: cabc.Callable[[], None] = _has_none
            ) -> result_model.Result:
    """Leave the images in Glance, all of them or none.

    :param sources: of the plan's images, in their order
    :param consistency: what the images say of the file systems in them
    :param check: of what was read while it was sent; raises StorageError
    :param end_turn: of a caller that has a turn at the disk all the time;
        called when the last image is written into Ceph. Where Glance
        refuses that one at its very end, it is sent without a turn: its
        guest would wait for one
    :raises ImageServiceError: when Glance has not got it all; not committed
    :raises StorageError: of a disk that was read; not committed
    :raises JournalError: when the commit cannot be written; not committed
    """
    prepare(txn, plan, consistency)
    return send(txn, plan, sources, consistency, check=check,
                end_turn=end_turn)


def prepare(txn: world_module.Transaction, plan: plan_model.Plan,
            consistency: str) -> None:
    """Let the records say what their images will be, and the door know.

    :raises ImageServiceError: when Glance does not take that
    :raises JournalError: when a record cannot be written
    """
    if not plan.is_held:
        # There the guest's old data take room until all is sent.
        txn.give_room_back()
    for planned in plan.images:
        format_flow.record(txn, planned)
        _say(txn.world, planned, consistency)
    txn.world.observer.before_upload(
        [image.image_format for image in plan.images])


def send(txn: world_module.Transaction, plan: plan_model.Plan,
         sources: cabc.Sequence[stream.Source], consistency: str, *,
         check: cabc.Callable[[], object] | None = None,
         end_turn: cabc.Callable[[], None] = _has_none
         ) -> result_model.Result:
    """Send images that are prepared, and commit; see :func:`deliver`."""
    world = txn.world
    turn: world_module.DiskTurn = contextlib.nullcontext
    if not plan.is_held:
        # There the flow has had its turn since the job began.
        turn = world.disk_turn
    images = []
    for planned, source in zip(plan.images, sources, strict=True):
        is_last = planned is plan.images[-1]
        image = _written(txn, plan, planned, source, turn,
                         end_turn if is_last else _has_none)
        if image is None:
            with turn():
                image = _upload(txn, planned, source, consistency)
        images.append(image)
    if check is not None:
        _check(txn, images, check)
    upload_flow.commit(txn)
    return result_model.Result(tuple(images), plan, consistency)


def _written(txn: world_module.Transaction, plan: plan_model.Plan,
             image: plan_model.PlannedImage, source: stream.Source,
             turn: world_module.DiskTurn,
             end_turn: cabc.Callable[[], None]) -> image_model.Image | None:
    """Write one image into Ceph; None where it is to be uploaded.

    :param turn: to write it in
    :param end_turn: of the caller's own
    """
    if plan.into_ceph is None:
        return None
    with world_module.ending(turn) as end_own:
        def end() -> None:
            end_own()
            end_turn()

        return into_ceph_flow.write(txn, plan.into_ceph, image.image_id,
                                    source, end)


def _check(txn: world_module.Transaction,
           images: cabc.Iterable[image_model.Image],
           check: cabc.Callable[[], object]) -> None:
    try:
        check()
    except errors.StorageError:
        # They are active.
        for image in images:
            upload_flow.discard(txn, image.image_id)
        raise


def _say(world: world_module.World, image: plan_model.PlannedImage,
         word: str) -> None:
    """Let an image say how consistent it is, if Glance takes it.

    The record that we made says it is not, until more is known. Under
    Nova the credentials are a user's, who cannot set each property: no
    snapshot fails for a remark.

    :raises ImageGone: when the image was deleted
    :source: glance/api/property_protections.py
    """
    if (image.made_by == request_model.Party.US
            and word == consistency_model.NOT_FROZEN):
        return
    try:
        world.images.set_properties(
            image.image_id, consistency_model.say(image.image_id, word))
    except errors.ImageGone:
        raise
    except errors.ImageServiceError as exc:
        LOG.warning('Image %s does not say how consistent it is (%s): %s',
                    image.image_id, word, exc)


def _upload(txn: world_module.Transaction, image: plan_model.PlannedImage,
            source: stream.Source, consistency: str) -> image_model.Image:
    """Upload one image; where Glance does not want raw, say the cure.

    Glance takes the first bytes of some raw disks for another format: a boot
    sector without a table, a guest's own qcow2.

    :source: glance/api/v2/image_data.py; oslo_utils
        imageutils/format_inspector.py GPTInspector
    """
    try:
        return upload_flow.upload(txn, image.image_id, source, consistency)
    except errors.ImageServiceError as exc:
        if (exc.status != http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE
                or image.image_format != format_plan.RAW):
            raise
        raise errors.ImageServiceError(
            call=exc.call, status=exc.status, image_id=exc.image_id,
            reason=f'{exc.reason}. It does not take the beginning of this '
                   'disk for that of a raw image: '
                   + format_plan.as_qcow2(txn.record.instance_name, image)
        ) from exc
