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

"""Read what a plan is made from; nothing is changed here."""

import collections.abc as cabc
import contextlib
import dataclasses
import functools
import os

from nova_snap import errors
from nova_snap.flows import room as room_flow
from nova_snap.host import file_systems
from nova_snap.host import files as files_module
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.hypervisor import domain as domain_module
from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import disk as disk_plan
from nova_snap.model.plan import image_format as format_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import probe
from nova_snap.model import remedy
from nova_snap.model import request as request_model
from nova_snap.model import room as room_model
from nova_snap.steps import world as world_module

State = domain_model.State
Chain = tuple[layer_model.Layer, ...]
Look = cabc.Callable[[str, str], qemu_img_module.Info]


def read(node: world_module.Node,
         request: request_model.Request) -> plan_model.Facts:
    """Read all facts about an instance and its host.

    :raises Refused: when the disk or snapshots_directory cannot be used
    :raises StorageError: when a layer of the disk cannot be looked at
    :raises HypervisorError: when libvirt does not answer
    """
    world = node.world
    domain = world.host.domain(request.instance_uuid)
    model = reached(world, domain.model())
    state = domain.state()
    is_cinders = disk_plan.is_volume_backed(request, model)
    # Where it is Cinder's nothing is written on the node.
    room = (room_model.Room(world.settings.snapshots_directory, 0)
            if is_cinders else _room(node, model))
    left = room.free - room.reserved - world.settings.space_reserve
    return plan_model.Facts(
        domain=model, state=state, qemu_id=domain.qemu_id(),
        is_persistent=domain.is_persistent(),
        has_managed_save=domain.has_managed_save(),
        job=None if state == State.SHUTOFF else domain.job(),
        disks=tuple(
            _disk(world, domain, model, disk, state,
                  left=None if is_cinders else left,
                  image_format=format_plan.named(request, world.settings))
            for disk in disk_plan.wanted(request, model)),
        room=room,
        save_room=(None if state == State.SHUTOFF or is_cinders
                   else room_flow.of_saves(node)),
        libvirt_version=world.host.version(),
        qemu_version=world.host.qemu_version(),
        opens_devices=world.files.opens_devices,
        network_file_system=file_systems.network_type(
            world.settings.snapshots_directory),
        lost=() if state == State.SHUTOFF else tuple(_lost(world, model)),
        left_out=() if state == State.SHUTOFF else tuple(
            _missing(world, model, may_be=True)),
        nova_compute_runs=node.nova_compute_runs())


def reached(world: world_module.World,
            model: domain_model.Domain) -> domain_model.Domain:
    """Return a domain with its disks in Ceph as this host reaches them."""
    settings = world.settings
    return model.reached(settings.rbd_user, settings.images_rbd_ceph_conf)


def _lost(world: world_module.World,
          model: domain_model.Domain) -> cabc.Iterator[str]:
    """Say what a guest needs to start and would not find.

    Nova undefines the secret of a TPM when the guest has started.

    :source: nova/virt/libvirt/driver.py _create_guest
    """
    for secret in model.secrets:
        try:
            if not world.host.has_secret(secret):
                yield f'libvirt has no secret {secret} of {secret.owner}'
        except errors.HypervisorError as exc:
            yield (f'libvirt does not say whether it has the secret {secret} '
                   f'of {secret.owner}: {exc.reason}')
    yield from _missing(world, model, may_be=False)


def _missing(world: world_module.World, model: domain_model.Domain, *,
             may_be: bool) -> cabc.Iterator[str]:
    """Name the files of drives that are missing.

    :param may_be: those without which libvirt starts a saved guest, or else
        the others
    """
    for drive in model.drives:
        paths = [layer.path for layer in drive.backing if layer.is_local]
        if drive.source_path is not None and drive.storage.is_local:
            paths.insert(0, drive.source_path)
        for path in paths:
            if (drive.may_be_missing == may_be
                    and world.files.is_missing(path)):
                yield f'{path} of {drive.target_dev} is missing'


def _disk(world: world_module.World, domain: domain_module.Domain,
          model: domain_model.Domain, disk: domain_model.Disk,
          state: State, *, left: int | None,
          image_format: str | None) -> plan_model.DiskFacts:
    """Look at one disk.

    :param left: bytes that it may take; None for one that is Cinder's
    :param image_format: that the operator has named
    """
    job = (None if state == State.SHUTOFF
           else _block_job(world, domain, model, disk))
    if left is None or not _is_readable(disk):
        # The plan leaves it to Cinder, or says what is wrong with it.
        return plan_model.DiskFacts(disk, block_job=job)
    # No file is looked at twice.
    look = functools.cache(world.qemu_img.info)
    chain = (chain_at_rest(world, model.name, disk, look)
             if state == State.SHUTOFF else _live_chain(world, model, disk))
    chain, recognised = _recognise(world, chain)
    with _refusing():
        # The plan refuses what is not read.
        files = file_ids(world, chain)
        first = (world.files.first_bytes(chain[0].path)
                 if disk.driver_format == format_plan.RAW
                 and not _is_closed(chain[0], state) else None)
    size = _virtual_size(world, look, domain, disk, state)
    with _refusing():
        allocations = tuple(_allocated(world, domain, disk, state, layer,
                                       size) for layer in chain)
    if first is None and format_plan.RAW in (image_format,
                                             disk.driver_format):
        first = _first_bytes(world, chain, state, size)
    if state != State.SHUTOFF:
        _refuse_replaced(world, model.name, chain, files)
    return plan_model.DiskFacts(
        disk, chain=chain, files=files, allocations=allocations,
        block_job=job, first=first, recognised=recognised,
        measured=(_measured(world, chain, state) if sum(allocations) > left
                  else None),
        virtual_size=size,
        may_be_cloned=(chain[0].storage == layer_model.Storage.FILE
                       and file_systems.may_share_blocks(
                           chain[0].path,
                           world.settings.snapshots_directory)))


def _allocated(world: world_module.World, domain: domain_module.Domain,
               disk: domain_model.Disk, state: State,
               layer: layer_model.Layer, size: int) -> int:
    if layer == disk.active_layer and _is_closed(layer, state):
        # Neither counts what it holds; of a device QEMU knows how far its
        # guest has written.
        return (domain.block_sizes(disk.target_dev)[1]
                if layer.is_local and state != State.SHUTOFF else size)
    return world.files.allocated_bytes(layer.path) if layer.is_local else 0


def _is_closed(layer: layer_model.Layer,
               state: State = State.SHUTOFF) -> bool:
    """Tell whether a layer need not, and must not, be opened as a file.

    nova-compute, which is not root, cannot open block devices. Of a raw one
    libvirt knows all there is, of any other one while its guest runs.
    """
    if layer.storage == layer_model.Storage.BLOCK:
        return state != State.SHUTOFF or layer.format == format_plan.RAW
    return not layer.is_local


def _measured(world: world_module.World, chain: Chain,
              state: State) -> int | None:
    """Return the size of an image of a disk that no QEMU has open.

    To be asked where there may not be room: it takes a while.
    """
    if not _is_at_rest(chain, state):
        return None
    return world.qemu_img.measure(chain)


def _first_bytes(world: world_module.World, chain: Chain, state: State,
                 size: int) -> bytes | None:
    """Return how a disk that no QEMU has open begins, where that is seen."""
    if not _is_at_rest(chain, state):
        return None
    try:
        return world.qemu_img.first_bytes(chain, size)
    except errors.StorageError:
        # It is looked at once more, and then that is said.
        return None


def _is_at_rest(chain: Chain, state: State) -> bool:
    """Tell whether qemu-img can read a chain."""
    return state == State.SHUTOFF and all(
        layer.storage.is_read and layer.format in disk_plan.SOURCE_FORMATS
        for layer in chain)


def file_ids(world: world_module.World,
             chain: cabc.Iterable[layer_model.Layer]) -> (
                 tuple[layer_model.FileId | None, ...]):
    """Tell which files the layers are; None for one that is not local.

    :raises StorageError: when one cannot be looked at
    """
    return tuple(world.files.file_id(layer.path) if layer.is_local else None
                 for layer in chain)


def _refuse_replaced(world: world_module.World, instance: str, chain: Chain,
                     files: tuple[layer_model.FileId | None, ...]) -> None:
    """Refuse a chain of which the guest has another file open.

    Only where the locks of its QEMU are seen, as on the active layer: also
    on the file system of that one, or where each lock is.

    :raises Unsupported: naming the file that took the place of another
    """
    if files[0] is None or not world.files.is_held(chain[0].path):
        return
    for layer, file in zip(chain[1:], files[1:], strict=True):
        if (layer.storage == layer_model.Storage.FILE and file is not None
                and not world.files.is_held(layer.path)
                and (file[0] == files[0][0]
                     or world.files.shows_locks(layer.path))):
            raise errors.Unsupported(
                instance=instance,
                reason=f'the guest does not have the backing file '
                       f'{layer.path} open, which took the place of the one '
                       'that it reads. Put that one back, or stop the guest '
                       'and start it from this one')


def _is_readable(disk: domain_model.Disk) -> bool:
    """Tell whether the layers of a disk can be looked at."""
    return (disk.device in domain_model.DISKS
            and disk_plan.why_not_read(disk) is None)


def _live_chain(world: world_module.World, model: domain_model.Domain,
                disk: domain_model.Disk) -> Chain:
    for layer in disk.backing:
        if layer.is_local and layer.format == 'qcow2':
            _look_below(world, model.name, layer, world.qemu_img.info)
    return disk.active_layer, *disk.backing


def chain_at_rest(world: world_module.World, instance: str,
                  disk: domain_model.Disk, look: Look | None = None) -> Chain:
    """Walk the chain of a disk that no QEMU has open, by its headers.

    Each format is the one that the layer above names; a layer that names
    none, or no file of this host, ends the walk, and the plan refuses it.

    :param instance: its name
    :param look: takes the place of qemu-img's
    :returns: the active layer first; nothing where it cannot be looked at
    :raises Unsupported: when a layer keeps its data in another file, or the
        chain is a circle
    :raises Refused: when a layer cannot be read
    :raises StorageError: when it is not of the format it is called, or in
        use
    """
    if not _is_readable(disk):
        return ()
    if _is_closed(disk.active_layer):
        return (disk.active_layer,)
    with _refusing():
        # Before qemu-img says it worse.
        world.files.allocated_bytes(disk.active_layer.path)
    chain = [disk.active_layer]
    while chain[-1].is_local and chain[-1].format == 'qcow2':
        below = _look_below(world, instance, chain[-1],
                            look or world.qemu_img.info)
        if below is None:
            break
        path, backing_format = below
        if any(path == seen.path for seen in chain):
            raise errors.Unsupported(
                instance=instance,
                reason=f'the backing chain of {disk.source_path} is a circle')
        chain.append(layer_model.Layer(path, backing_format or '',
                                       _storage(world, path)))
    return tuple(chain)


def _recognise(world: world_module.World,
               chain: Chain) -> tuple[Chain, layer_model.Layer | None]:
    """Find the format of a layer that has none in the header above it.

    libvirt and QEMU look at how such a file begins. We do so where no guest
    writes: in Nova's image cache. There is nothing below it then.

    :returns: the chain, and the layer of it whose format was found
    :source: libvirt src/storage_file/storage_source.c
        virStorageSourceGetMetadataRecurse; Nova before release 21
    """
    if not chain or chain[-1].format or not chain[-1].is_local:
        return chain, None
    *above, last = chain
    head = world.files.head_of_cached(last.path, world.settings.image_cache)
    found = '' if head is None else probe.format_of(head)
    if not found:
        return chain, None
    last = dataclasses.replace(last, format=found)
    return (*above, last), last


def _storage(world: world_module.World, path: str) -> layer_model.Storage:
    """Return what a header's backing file lies on."""
    if qemu_img_module.PROTOCOL.match(path):
        return layer_model.Storage.OTHER
    if world.files.is_block_device(path):
        return layer_model.Storage.BLOCK
    return layer_model.Storage.FILE


def _look_below(world: world_module.World, instance: str,
                layer: layer_model.Layer,
                look: Look) -> tuple[str, str | None] | None:
    """Return the backing file and format that a layer's header names.

    :raises Unsupported: when the layer keeps its data in another file
    :raises Refused: when the layer cannot be read
    :source: CVE-2024-32498
    """
    with _refusing():
        world.files.allocated_bytes(layer.path)
    info = look(layer.path, layer.format)
    if info.data_file is not None:
        raise errors.Unsupported(
            instance=instance,
            reason=f'{layer.path} keeps its data in another file '
                   f'({info.data_file})')
    if info.backing_file is None:
        return None
    return info.backing_file, info.backing_format


def _virtual_size(world: world_module.World, look: Look,
                  domain: domain_module.Domain, disk: domain_model.Disk,
                  state: State) -> int:
    layer = disk.active_layer
    if state != State.SHUTOFF or (layer.is_local and _is_closed(layer)):
        return domain.block_sizes(disk.target_dev)[0]
    if not layer.is_local:
        return world.qemu_img.virtual_size(layer)
    return look(layer.path, layer.format).virtual_size


def _block_job(world: world_module.World, domain: domain_module.Domain,
               model: domain_model.Domain,
               disk: domain_model.Disk) -> str | None:
    """Name the block job on a disk, and say what ends it.

    A snapshot that is taken has settled ours before, see
    :mod:`nova_snap.flows.recovery`; one that is planned alone has not.
    """
    job, mirror = domain.block_device(disk.target_dev).job(), disk.mirror
    if job is None and mirror is None:
        return None
    if mirror is not None and _is_ours(world, mirror.path):
        return (f'a snapshot copies disk {disk.target_dev} to {mirror.path}; '
                '"nova-snap status" shows whether it is under way or was '
                'left')
    kind = '' if job is None else job.kind
    where = ''
    if mirror is not None:
        kind, where = kind or mirror.job, f' to {mirror.path}'
    return (f'a block job ({kind}){where} runs on disk {disk.target_dev}, '
            'which is not ours to abort; wait for its end, or end it: '
            + remedy.command('virsh', 'blockjob', model.uuid,
                             disk.target_dev, '--abort'))


def _is_ours(world: world_module.World, path: str | None) -> bool:
    """Tell whether a path lies in a scratch directory of ours."""
    scratch = os.path.dirname(path or '')
    return (os.path.dirname(scratch) == world.settings.snapshots_directory
            and os.path.basename(scratch).startswith(
                files_module.SCRATCH_PREFIX))


def _room(node: world_module.Node,
          model: domain_model.Domain) -> room_model.Room:
    with _refusing():
        room = room_flow.of_snapshots(node)
        files_module.check_qemu_enters(room.path, model.qemu_user)
        return room


@contextlib.contextmanager
def _refusing() -> cabc.Iterator[None]:
    """Refuse the snapshot for what the storage says within the block.

    :raises Refused: with the same words
    """
    try:
        yield
    except errors.StorageError as exc:
        raise errors.Refused(reason=str(exc)) from exc
