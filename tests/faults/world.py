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

"""Look at the whole world after a case: is any promise broken?"""

import collections
import collections.abc as cabc
import contextlib
import dataclasses
import hashlib
import json
import pathlib
import re
import stat
import typing as ty
from xml.etree import ElementTree

import libvirt
import libvirt_qemu

from nova_snap.model import image_set
from nova_snap import units
from tests.faults import kinds
from tests.faults import scene as scene_module
from tests.functional import base
from tests.lab import errors
from tests.lab.guest import disk as guest_disk
from tests.lab.guest import domain as guest_domain
from tests.lab import process
from tests.lab import proof
from tests.lab import records

# Seconds for a child of ours to die with its parent.
DEATH_TIMEOUT = 5
AGENT_TIMEOUT = 10
# Likewise for an agent that libvirt has seen to answer, on a busy machine.
ANSWER_TIMEOUT = 20

# Bytes of a file that are searched at once.
PIECE = units.MiB

# The bits of a mode by which others than the owner read.
OTHERS = stat.S_IRGRP | stat.S_IROTH

# How a guest must be that may be gone.
MAY_BE_GONE = (kinds.After.GONE, kinds.After.AWAY)

PROGRAMS = ('qemu-img', 'qemu-nbd')

# How each promise is called that can be broken.
LOST, LEFT, LET_IN = 'lost', 'left', 'let in'


@dataclasses.dataclass(frozen=True)
class Looked:
    """A guest, and where its writes were.

    :ivar devices: of the running guest; each with its names
    """

    seen: base.Seen
    devices: tuple[str, ...]
    last_record: int


def look(guest: guest_domain.Guest) -> Looked:
    """Look at a guest from outside."""
    return Looked(base.look(guest), _devices(guest), guest.last_record())


def guest_problems(guest: guest_domain.Guest, before: Looked,
                   after: kinds.After, *, is_cold: bool,
                   has_agent: bool = True) -> list[str]:
    """Say what is wrong with a guest.

    :param after: how it must be
    :param has_agent: that answers, and is to be asked
    """
    if after in MAY_BE_GONE and scene_module.is_gone(guest):
        return []
    if scene_module.is_gone(guest):
        return [f'{LOST}: the guest is not defined']
    now = look(guest)
    said = _differences(before, now, after, is_cold=is_cold)
    if guest.domain.isActive():
        said += _jobs(guest)
        if has_agent and guest.spec.agent is not None:
            said += _agent(guest)
        if now.seen.state == libvirt.VIR_DOMAIN_RUNNING and (
                not guest.is_writing()):
            said.append(f'{LOST}: the guest writes no records')
    elif guest.domain.hasManagedSaveImage():
        said.append(f'{LOST}: the guest lies saved')
    return said + [f'{LEFT}: libvirt knows checkpoint {one.getName()}'
                   for one in guest.domain.listAllCheckpoints()]


def restart_problems(scene: scene_module.Scene,
                     guest: guest_domain.Guest) -> list[str]:
    """Start a guest that is off, and say what is wrong with it then.

    libvirt keeps some things of a domain, not of its QEMU process.
    """
    scene.start(guest)
    if guest.spec.agent is None:
        return []
    try:
        scene.await_answer(guest, ANSWER_TIMEOUT)
    except errors.LabError:
        # Of a QEMU that dies while its agent is spoken to libvirt keeps an
        # error beyond the next start. :source: libvirt
        # src/qemu/qemu_process.c qemuProcessHandleAgentError,
        # src/qemu/qemu_driver.c processSerialChangedEvent
        scene.libvirtd.restart()
        scene.await_answer(guest, ANSWER_TIMEOUT)
    return _agent(guest)


def _differences(before: Looked, now: Looked, after: kinds.After, *,
                 is_cold: bool) -> list[str]:
    """Say in what a guest is not as it must be."""
    wanted = dataclasses.asdict(before.seen)
    found = dataclasses.asdict(now.seen)
    same = ['state', 'definition', 'autostart', 'managed_save']
    if after == kinds.After.SAME:
        same = [name for name in wanted if name != 'qemu_id' or not (
            is_cold and found['qemu_id'] != -1)]
    elif after == kinds.After.AWAY:
        same = ['state', 'managed_save']
        wanted['state'] = int(libvirt.VIR_DOMAIN_SHUTOFF)
    elif after == kinds.After.ANY:
        same = ['managed_save']
    else:
        wanted['state'] = _state(before.seen.state, found, after,
                                 is_cold=is_cold)
    said = [f'{LOST}: {name} is {found[name]!r}, not {wanted[name]!r}'
            for name in same if found[name] != wanted[name]]
    if now.devices and now.devices != before.devices and before.devices:
        said.append(f'{LOST}: devices {set(before.devices)} are '
                    f'{set(now.devices)}')
    return said


def _state(before: int, found: dict[str, ty.Any], after: kinds.After, *,
           is_cold: bool) -> int:
    """Return the state in which a guest must be that others have changed.

    One that was saved for a cold snapshot is started again, unless it was
    stopped before that.
    """
    runs = found['qemu_id'] != -1
    if runs and before == libvirt.VIR_DOMAIN_PAUSED:
        # Neither a reset nor a start lets it go on.
        return int(libvirt.VIR_DOMAIN_PAUSED)
    if after == kinds.After.RUNNING or (is_cold and runs):
        return int(libvirt.VIR_DOMAIN_RUNNING)
    return int(libvirt.VIR_DOMAIN_SHUTOFF)


def _devices(guest: guest_domain.Guest) -> tuple[str, ...]:
    """Name what a running guest has: each kind with its files and names."""
    if not guest.domain.isActive():
        return ()
    found = ElementTree.fromstring(guest.domain.XMLDesc()).find('devices')
    assert found is not None
    return tuple(' '.join((device.tag, *(
        str(part.get(word)) for part in device.iter()
        for word in ('file', 'dev', 'mac', 'name') if part.get(word)
        and part.tag in ('source', 'target', 'mac'))))
        for device in found if device.tag != 'channel')


def _jobs(guest: guest_domain.Guest) -> list[str]:
    """Say which jobs run on a guest's disks, or wait there."""
    domain, said = guest.domain, []
    xml = domain.XMLDesc()
    if '<mirror' in xml or any(
            domain.blockJobInfo(target) for target in
            re.findall(r"<target dev='(\w+)' bus='virtio'", xml)):
        said.append(f'{LEFT}: a block job')
    with contextlib.suppress(libvirt.libvirtError):
        domain.backupGetXMLDesc()
        said.append(f'{LEFT}: a backup job')
    if domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
        said.append(f'{LEFT}: a job of the domain')
    return said


def _agent(guest: guest_domain.Guest) -> list[str]:
    """Ask the guest itself whether it is frozen."""
    seconds, said = guest.agent_timeout(), []
    if seconds != libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK:
        said.append(f'{LEFT}: libvirt waits {seconds} s for the agent')
    if guest.domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
        return said
    try:
        answer = json.loads(libvirt_qemu.qemuAgentCommand(
            guest.domain, '{"execute": "guest-fsfreeze-status"}',
            AGENT_TIMEOUT, 0))['return']
    except libvirt.libvirtError as exc:
        return [*said, f'{LOST}: the agent does not answer: {exc}']
    if answer != 'thawed':
        said.append(f'{LOST}: the guest is {answer}')
    return said


def node_problems(scene: scene_module.Scene) -> list[str]:
    """Say what is left on the node."""
    said = [f'{LEFT}: {path}' for folder in scene.folders()
            for path in (folder.iterdir() if folder.exists() else ())
            if path.name != scene_module.LOST_AND_FOUND]
    if scene.victim.exists() and (
            scene.victim.read_bytes() != scene_module.VICTIM):
        said.append(f'{LET_IN}: a file of the host was written')
        scene.victim.unlink()
    try:
        process.wait_until(lambda: not _programs(scene),
                           timeout=DEATH_TIMEOUT, what='the programs to end')
    except errors.LabError:
        said += [f'{LEFT}: a process: {words}' for words in _programs(scene)]
    return said


def _programs(scene: scene_module.Scene) -> list[str]:
    """Name our programs that work in the campaign's folder."""
    return [words for words in process.command_lines().values()
            if str(scene.folder) in words and any(
                name in words for name in PROGRAMS)]


def image_problems(scene: scene_module.Scene, new: cabc.Sequence[
        scene_module.Json], reported: tuple[int, int] | None) -> list[str]:
    """Say what is wrong with images that a case has left.

    :param reported: the guest's last record before the case, and after;
        None where they are not of one guest
    """
    said = []
    sets: dict[str, list[scene_module.Json]] = collections.defaultdict(list)
    for image in sorted(new, key=lambda one: str(one['name'])):
        sets[image.get(image_set.SET_PROPERTY, image['id'])].append(image)
    for images in sets.values():
        # What the guest wrote on each disk.
        areas: list[list[records.Slot]] = []
        try:
            for image in images:
                said += _content_problems(scene, image, areas)
            last = records.check_sequence(records.interleave(areas))
            if reported is not None:
                proof.check_instant(last, reported_before=reported[0],
                                    reported_after=reported[1])
        except errors.LabError as exc:
            said.append(f'{LOST}: image {images[0]["id"]}: {exc}')
    return said


def _content_problems(scene: scene_module.Scene, image: scene_module.Json,
                      areas: list[list[records.Slot]]) -> list[str]:
    """Say what is wrong with one image, and add what its guest wrote.

    :raises LabError: when that is wrong
    """
    said: list[str] = []
    if image['status'] != 'active':
        return [f'{LEFT}: image {image["id"]} is {image["status"]}']
    image = scene.store.await_hash(lambda: scene.image(image['id']))
    with scene.store.content(image['id']) as path:
        if holds_any(path, scene.secrets):
            said.append(f'{LET_IN}: a secret is in image {image["id"]}')
        if image['size'] != path.stat().st_size or (
                image['os_hash_value'] != _sha512(path)):
            said.append(f'{LOST}: image {image["id"]} is not what Glance '
                        'says of it')
        proof.assert_sound(path, image['disk_format'])
        areas.append(
            records.read_device(path, len(areas[0])) if areas else
            proof.read_records(path, image['disk_format']))
    return said


def _sha512(path: pathlib.Path) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha512').hexdigest()


def write_problems(scene: scene_module.Scene,
                   guest: guest_domain.Guest) -> list[str]:
    """Pull a guest's plug, and look whether its own writes have a gap.

    Then start it again: its definition must be good.
    """
    reported = guest.last_record()
    guest.destroy()
    assert guest.spec.disk is not None
    said = gaps(guest.spec.disk, reported)
    scene.start(guest)
    return said


def gaps(disk: guest_disk.Disk, reported: int) -> list[str]:
    """Say what is wrong with the writes of a guest on a disk that is closed.

    :param reported: the last that it has surely made
    """
    try:
        last = records.check_sequence(proof.read_records(
            disk.path, disk.driver_format, backing=True))
    except errors.LabError as exc:
        return [f'{LOST}: the writes of the guest: {exc}']
    if last < reported:
        return [f'{LOST}: the disk ends with record {last}, and the guest '
                f'had reported {reported}']
    return []


def file_problems(scene: scene_module.Scene) -> list[str]:
    """Say which files others can read that hold a secret.

    Those of the campaign itself are its configuration.
    """
    return [f'{LET_IN}: others can read a secret in {path}'
            for path in scene.folder.rglob('*')
            if path.is_file() and path.suffix != '.conf'
            and path.stat().st_mode & OTHERS
            and holds_any(path, scene.secrets)]


def secret_problems(scene: scene_module.Scene,
                    images: cabc.Iterable[scene_module.Json]) -> list[str]:
    """Say where a secret is that must be nowhere.

    :param images: whose records are looked at, as all that the command said
    """
    texts = {'what the command said': '\n'.join(scene.said),
             **{f'the record of image {image["id"]}': json.dumps(
                 scene.image(image['id'])) for image in images}}
    return [f'{LET_IN}: a secret is in {where}'
            for where, text in texts.items()
            if any(secret in text for secret in scene.secrets)]


def holds_any(path: pathlib.Path, words: cabc.Collection[str]) -> bool:
    """Tell whether a file holds one of some words, wherever they stand."""
    sought = [word.encode() for word in words]
    before, kept = b'', max(map(len, sought)) - 1
    with path.open('rb') as file:
        while piece := file.read(PIECE):
            piece = before + piece
            if any(word in piece for word in sought):
                return True
            before = piece[-kept:]
    return False
