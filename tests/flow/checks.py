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

"""What must hold after everything, whatever happened."""

import dataclasses
import os
import typing as ty

from nova_snap.model import block_device
from nova_snap.model import consistency as consistency_model
from nova_snap.model import image_set
from tests.fakes import agent as fake_agent
from tests.fakes import disk as fake_disk
from tests.fakes.glance import record as image_record
from tests.fakes import guest as fake_guest
from tests.fakes import node as fake_node


@dataclasses.dataclass(frozen=True)
class State:
    """All of a guest that a snapshot must leave as it was.

    :ivar starts: a live snapshot starts no guest, and a cold one does so
        once for each save: not compared
    """

    persistent: str | None
    is_active: bool
    now: int
    saved: bool | None
    frozen: bool
    agent_timeout: int
    autostart: bool
    snapshots: tuple[tuple[str, str], ...]
    checkpoints: tuple[tuple[str, str], ...]
    block_jobs: tuple[str, ...]
    job: str | None
    lost: tuple[bool, bool]
    hostdevs: tuple[str, ...]
    files: tuple[str, ...]
    in_ceph: tuple[str, ...]


def state_of(fake: fake_node.FakeNode) -> State:
    """Look at the guest and at the node's disk."""
    guest = fake.guest
    return State(
        persistent=guest.persistent, is_active=guest.live is not None,
        now=guest.now, saved=guest.saved, frozen=guest.agent.frozen,
        agent_timeout=guest.agent.timeout,
        autostart=guest.is_set_to_autostart,
        snapshots=_named(guest.snapshots),
        checkpoints=_named(guest.checkpoints),
        block_jobs=tuple(guest.mirrors), job=guest.running_job,
        lost=(guest.has_lost_nvram, guest.has_lost_tpm),
        hostdevs=guest.hostdevs.facts(),
        files=tuple(sorted(os.listdir(fake.snapshots))),
        in_ceph=fake.ceph.left([
            image_id for image_id, stored in fake.glance.stored.items()
            if stored.status == 'active']))


def touched(fake: fake_node.FakeNode, before: State) -> list[str]:
    """Say what is not as it was."""
    if fake.libvirtd.domains.get(fake_node.UUID) is not fake.guest:
        return ['the domain is gone']
    after = state_of(fake)
    wrong = [
        f'{field.name} was {getattr(before, field.name)!r:.300}, now it is '
        f'{getattr(after, field.name)!r:.300}'
        for field in dataclasses.fields(State)
        if getattr(before, field.name) != getattr(after, field.name)]
    if after.agent_timeout != fake_agent.SET_TIME_OUT_BLOCK:
        wrong.append('waits for the agent are still bounded')
    return wrong


def neither_all_nor_nothing(fake: fake_node.FakeNode) -> list[str]:
    """Say what is wrong with the images, if something is.

    There is none, or one that is active, holds the guest's bytes of the
    point in time, and tells the truth about its file systems.
    """
    wrong = [f'snapshot {one} of a volume is left'
             for one in fake.cinder.snapshots.keys() - named(fake)]
    for stored in fake.glance.stored.values():
        if stored.status != 'active':
            wrong.append(f'an image stays {stored.status}')
            continue
        if block_device.MAPPING_PROPERTY in stored.properties:
            wrong += _wrong_volumes(fake, stored)
            continue
        image = fake_disk.DiskFile.from_bytes(stored.data)
        said = consistency_model.said(stored['id'], stored.properties)
        if not _moments(fake, stored):
            wrong.append('the image holds what the guest never had, or was '
                         f'not {said}: {image}')
        if image.format != stored['disk_format']:
            wrong.append(f'the image of {stored["disk_format"]} is '
                         f'{image.format}')
        if image.backing or image.data_file:
            wrong.append('the image refers to another file')
    return wrong + _wrong_set(fake)


def named(fake: fake_node.FakeNode) -> set[str]:
    """Return the snapshots of volumes that some image names."""
    return {one for stored in fake.glance.stored.values()
            for one in block_device.snapshots_named(stored.properties) or ()}


def _wrong_volumes(fake: fake_node.FakeNode,
                   stored: image_record.Stored) -> list[str]:
    """Say what is wrong with an image that names snapshots of volumes."""
    wrong = [] if stored.data == b'' else ['it has data']
    found = [fake.cinder.snapshots.get(one) for one
             in block_device.snapshots_named(stored.properties) or ()]
    if any(one is None or one.status != 'available' for one in found):
        wrong.append(f'it names what cannot be booted: {found}')
    if ([one.volume_id for one in found if one]
            != list(fake.cinder.volumes)):
        wrong.append(f'it does not name each volume: {found}')
    said = consistency_model.said(stored['id'], stored.properties)
    freezes = {fake.cinder.moments[one.snapshot_id].freeze
               for one in found if one}
    if said == consistency_model.FROZEN and (
            None in freezes or len(freezes) != 1):
        wrong.append(f'it says {said}, and its volumes are of the freezes '
                     f'{freezes}')
    return wrong


def _wrong_set(fake: fake_node.FakeNode) -> list[str]:
    """Say what is wrong with the images of a set, if there are any."""
    places = {image_id: place for image_id, stored
              in fake.glance.stored.items()
              if (place := image_set.said(image_id, stored.properties))}
    if not places:
        return []
    moments = [_moments(fake, fake.glance.stored[image_id])
               for image_id in places]
    wrong = []
    if not any(all(moment in of_one for of_one in moments)
               for moment in moments[0]):
        wrong.append('the images of the set are of several moments')
    (disks,) = {(place.set_id, place.disks) for place in places.values()}
    if {place.disk for place in places.values()} != set(disks[1]):
        wrong.append(f'there is not an image of each of {disks}')
    return wrong


def _moments(fake: fake_node.FakeNode,
             stored: image_record.Stored) -> list[fake_guest.Moment]:
    """Return the moments that an image may be of."""
    image = fake_disk.DiskFile.from_bytes(stored.data or b'')
    said = consistency_model.said(stored['id'], stored.properties)
    place = image_set.said(stored['id'], stored.properties)
    moments = fake.libvirtd.moments
    if not moments and fake.guest.live is None:
        moments = [fake_guest.Moment(fake.guest.contents(), False)]
    # Frozen by another client it is better than we say, never worse.
    return [moment for moment in moments
            if image.clusters == (moment.disks[place.disk] if place
                                  else moment.content)
            and (moment.frozen or said != consistency_model.FROZEN)]


def _named(known: ty.Iterable[ty.Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((one.getName(), one.getXMLDesc()) for one in known))
