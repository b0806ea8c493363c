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

"""The last image of a guest, as which the next one begins.

A case of an incremental flow needs one before it, and the image after it
tells what became of what was kept: it is taken while the guest stands still,
and compared with the disk byte for byte. It begins as the image of the case,
as the one before, or says why it is whole.
"""

import dataclasses
import json
import pathlib
import re
import subprocess

import libvirt_qemu

from nova_snap.model import checkpoint as checkpoint_model
from tests.faults import children as children_module
from tests.faults import flows as flows_module
from tests.faults import scene as scene_module
from tests.faults import trial as trial_module
from tests.faults import world
from tests.lab import errors
from tests.lab.guest import domain as guest_domain

# Not as the campaign's others, which an act deletes as their owner does.
NAME = 'last'

# What image-create says that it has written. :source: flows/incremental.py
SINCE = re.compile(r' that have changed since image (\S+)$')
WHOLE = 'the whole disk: '

# The next image needs the last one no more, which can be deleted then.
FLAT = ('incremental', 'flat')


@dataclasses.dataclass(frozen=True)
class Followed:
    """How the image after a case came to be.

    :ivar how: in a word; '' where none was taken
    """

    problems: tuple[str, ...] = ()
    how: str = ''


class LastImage:
    """That of the guest of the incremental flows."""

    def __init__(self, scene: scene_module.Scene) -> None:
        self._scene = scene
        self._image_id = ''
        self._old: list[str] = []

    def make(self, trial: trial_module.Trial) -> None:
        """Make one, unless the last case has left one that is as good.

        :raises LabError: when the product makes none
        """
        if (self._image_id in self._scene.images()
                and _kept(trial) == self._image_id):
            return
        self.tidy()
        self._forget(self._image_id)
        ended = self._take(trial)
        if ended.code:
            raise errors.LabError(f'there is no last image: {ended.stderr}')
        self._hold(ended)
        if _kept(trial) != self._image_id:
            raise errors.LabError(f'image {self._image_id} is not kept as '
                                  f'the last one: {ended.stdout}')

    def follow(self, trial: trial_module.Trial,
               begins_as: frozenset[str]) -> Followed:
        """Take the next image of a guest that stands still, and compare it.

        It is the last one from then on. The one before stays until
        :meth:`tidy`: it may have a clone.

        :param begins_as: the images of the case
        """
        begins_as |= {self._image_id}
        guest = trial.guest
        guest.domain.suspend()
        try:
            ended = self._take(trial)
            if ended.code:
                return Followed((f'{world.LEFT}: the next image ended with '
                                 f'{ended.code}: {ended.stderr}',))
            self._hold(ended)
            said = self._compare(guest)
        finally:
            guest.domain.resume()
        written = json.loads(ended.stdout).get('written') or ''
        found = SINCE.search(written)
        if not (written.startswith(WHOLE) or (
                found and found[1] in begins_as)):
            said.append(f'{world.LOST}: the next image does not say what it '
                        f'began as: {written!r}')
        return Followed((*said, *self._bitmaps(trial)),
                        'the next is whole' if found is None else '')

    def tidy(self) -> None:
        """Delete what is the last one no more: its clones are gone."""
        while self._old:
            self._forget(self._old[-1])
            self._old.pop()

    def end(self) -> None:
        """Delete all of them."""
        self.tidy()
        self._forget(self._image_id)

    def _take(self, trial: trial_module.Trial) -> children_module.Ended:
        """Take an image that needs no other; nothing happens to it."""
        flow = dataclasses.replace(
            trial.flow, name=f'{trial.flow.name}-last', arguments=(),
            options=(*trial.flow.options, FLAT))
        return trial_module.Trial.of(self._scene, flow, trial.guest).take(
            image=NAME, extra=('--json',))

    def _hold(self, ended: children_module.Ended) -> None:
        """Have the image of an end as the last one."""
        (image,) = json.loads(ended.stdout)['images']
        self._old.append(self._image_id)
        self._image_id = image['image_id']
        self._scene.spared.add(self._image_id)
        # Glance may still be at work on it.
        self._scene.store.await_hash(
            lambda: self._scene.image(self._image_id))

    def _forget(self, image_id: str) -> None:
        """Delete an image that may be deleted already."""
        if image_id in self._scene.images():
            self._scene.delete_image(image_id)
        self._scene.spared.discard(image_id)

    def _compare(self, guest: guest_domain.Guest) -> list[str]:
        """Say whether the image is the disk of a guest that stands still."""
        disk = guest.spec.disk
        assert disk is not None
        with self._scene.store.content(self._image_id) as path:
            # The guest's QEMU has it open.
            done = subprocess.run(
                ['qemu-img', 'compare', '-U', '-f', 'raw', '-F',
                 disk.driver_format, str(path), str(disk.path)],
                capture_output=True, text=True)
        return [] if not done.returncode else [
            f'{world.LOST}: the next image is not the disk: '
            f'{done.stdout}{done.stderr}'.strip()]

    def _bitmaps(self, trial: trial_module.Trial) -> list[str]:
        """Say which bitmap is there for no image, or is not there."""
        wanted = {checkpoint_model.name(self._image_id)}
        there = set(bitmaps(trial.guest))
        return [f'{world.LEFT}: bitmap {name} in the disk'
                for name in there - wanted] + [
                    f'{world.LOST}: bitmap {name} is not in the disk'
                    for name in wanted - there]


def bitmaps(guest: guest_domain.Guest) -> dict[str, str]:
    """Name our bitmaps in the disk of a guest that runs, with their nodes."""
    nodes = json.loads(libvirt_qemu.qemuMonitorCommand(
        guest.domain, '{"execute": "query-named-block-nodes"}', 0))['return']
    return {bitmap['name']: node['node-name'] for node in nodes
            for bitmap in node.get('dirty-bitmaps', ())
            if bitmap.get('name', '').startswith(checkpoint_model.PREFIX)}


def is_needed(flow: flows_module.Flow) -> bool:
    """Tell whether a flow begins as the last image."""
    return flow.kind == flows_module.Kind.TRACKED


def _kept(trial: trial_module.Trial) -> str:
    """Return which image is kept as the last one of a guest; '' for none."""
    path = pathlib.Path(trial.scene.state, 'nova_snap', 'checkpoints',
                        f'{trial.guest.spec.uuid}.json')
    try:
        base = json.loads(path.read_text())['base']
    except FileNotFoundError:
        return ''
    return '' if base is None else str(base['image_id'])
