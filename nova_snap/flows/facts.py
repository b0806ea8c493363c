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

import re

from nova_snap import errors
from nova_snap.flows import node as node_module
from nova_snap.host import files as files_module
from nova_snap.hypervisor import domain as domain_module
from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import disk as disk_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.steps import world as world_module

# A backing file that QEMU does not take for a path: "nbd://...", "json:...".
# :source: QEMU block.c path_has_protocol
PROTOCOL = re.compile('[^/:]*:')

State = domain_model.State
Chain = tuple[layer_model.Layer, ...]


def read(node: node_module.Node, uuid: str) -> plan_model.Facts:
    """Read all facts about an instance and its host.

    :raises Refused: when the disk or snapshots_directory cannot be used
    :raises StorageError: when a layer of the disk cannot be looked at
    :raises HypervisorError: when libvirt does not answer
    """
    world = node.world
    domain = world.host.domain(uuid)
    model = domain.model()
    state = domain.state()
    chain = _chain(world, model, state)
    return plan_model.Facts(
        domain=model, state=state, qemu_id=domain.qemu_id(),
        is_persistent=domain.is_persistent(),
        has_managed_save=domain.has_managed_save(),
        job=None if state == State.SHUTOFF else domain.job(),
        block_job=_block_job(domain, model, state),
        chain=chain,
        virtual_size=_virtual_size(world, domain, model, chain, state),
        # The plan refuses what is not local.
        allocated=sum(world.files.allocated_bytes(layer.path)
                      for layer in chain if layer.is_local),
        free=_free(world, model),
        nova_compute_runs=node.nova_compute_runs())


def _readable_root(model: domain_model.Domain) -> domain_model.Disk | None:
    """Return the root disk if its layers can be looked at, and are ours.

    For any other the plan says what is wrong with it.
    """
    disk = model.root_disk
    if (disk is None or disk.source_path is None
            or disk_plan.is_volume_backed(model)
            or disk.source_type not in ('file', 'block')
            or disk.driver_format not in disk_plan.SOURCE_FORMATS
            or disk.has_slices):
        return None
    return disk


def _chain(world: world_module.World, model: domain_model.Domain,
           state: domain_model.State) -> Chain:
    disk = _readable_root(model)
    if disk is None:
        return ()
    if state == State.SHUTOFF:
        _refuse_unreadable(world, disk.active_layer)
        return chain_at_rest(world, model)
    for layer in disk.backing:
        if layer.is_local and layer.format == 'qcow2':
            _refuse_data_file(world, model, layer)
    return (disk.active_layer, *disk.backing)


def _refuse_unreadable(world: world_module.World,
                       layer: layer_model.Layer) -> None:
    """Demand that a layer can be read, before qemu-img says it worse.

    :raises Refused: naming the remedy
    """
    world.files.allocated_bytes(layer.path)


def chain_at_rest(world: world_module.World,
                  model: domain_model.Domain) -> Chain:
    """Walk the chain of a root disk that no QEMU has open, by its headers.

    Each format is the one that the layer above names; a layer that names
    none, or no file of this host, ends the walk, and the plan refuses it.

    :returns: the active layer first; nothing where there is no such disk
    :raises Unsupported: when a layer keeps its data in another file, or the
        chain is a circle
    :raises Refused: when a layer cannot be read
    :raises StorageError: when it is not of the format it is called, or in
        use
    """
    disk = _readable_root(model)
    if disk is None:
        return ()
    chain = [disk.active_layer]
    while chain[-1].is_local and chain[-1].format == 'qcow2':
        info = _refuse_data_file(world, model, chain[-1])
        if info is None:
            break
        path, backing_format = info
        if any(path == seen.path for seen in chain):
            raise errors.Unsupported(
                instance=model.name,
                reason=f'the backing chain of {disk.source_path} is a circle')
        chain.append(layer_model.Layer(
            path, backing_format or '',
            is_block=world.files.is_block_device(path),
            is_local=not PROTOCOL.match(path)))
    return tuple(chain)


def _refuse_data_file(world: world_module.World, model: domain_model.Domain,
                      layer: layer_model.Layer) -> (
                          tuple[str, str | None] | None):
    """Return the backing file and format that a layer's header names.

    :raises Unsupported: when the layer keeps its data in another file
    :source: CVE-2024-32498
    """
    _refuse_unreadable(world, layer)
    info = world.qemu_img.info(layer.path, layer.format)
    if info.data_file is not None:
        raise errors.Unsupported(
            instance=model.name,
            reason=f'{layer.path} keeps its data in another file '
                   f'({info.data_file})')
    if info.backing_file is None:
        return None
    return info.backing_file, info.backing_format


def _virtual_size(world: world_module.World, domain: domain_module.Domain,
                  model: domain_model.Domain, chain: Chain,
                  state: domain_model.State) -> int:
    if not chain or model.root_disk is None:
        return 0
    if state == State.SHUTOFF:
        return world.qemu_img.info(chain[0].path,
                                   chain[0].format).virtual_size
    return domain.block_sizes(model.root_disk.target_dev)[0]


def _block_job(domain: domain_module.Domain, model: domain_model.Domain,
               state: domain_model.State) -> str | None:
    """Name the block job on the root disk; it is not ours.

    Ours were settled before: see :mod:`nova_snap.flows.recovery`.
    """
    disk = model.root_disk
    if disk is None or state == State.SHUTOFF:
        return None
    job = domain.block_job(disk.target_dev)
    if job is not None:
        return f'a block job ({job.kind}) runs on disk {disk.target_dev}'
    if disk.mirror is not None:
        return (f'a block job ({disk.mirror.job}) to {disk.mirror.path} '
                f'runs on disk {disk.target_dev}')
    return None


def _free(world: world_module.World, model: domain_model.Domain) -> int:
    if disk_plan.is_volume_backed(model):
        # Nothing is written on the node.
        return 0
    settings = world.settings
    room = files_module.snapshots_room(
        settings.snapshots_directory,
        is_default=settings.snapshots_directory_is_default)
    files_module.check_qemu_enters(room, model.qemu_user)
    return world.files.free_bytes(room)
