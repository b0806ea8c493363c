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


"""The ways from a running guest to an image in Glance."""

import dataclasses
import json
import pathlib
import subprocess
import sys

from bench import figures
from bench import scene as scene_module
from tests.lab import errors
from tests.lab.guest import domain as guest_domain
from tests.lab import place

# Seconds for one snapshot.
LIMIT = 3600


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way.

    :ivar colour: of its bars, whichever others are drawn
    :ivar method: of ours, [nova_snap]live_method; '' where it is not ours
    :ivar upload: of ours, [nova_snap]upload
    :ivar deliver: of ours, [nova_snap]deliver
    :ivar incremental: of ours, [nova_snap]incremental; then an image is taken
        before that is not measured, and the guest changes a part of its disk
    """

    name: str
    title: str
    colour: str
    method: str = ''
    upload: str = ''
    deliver: str = 'glance'
    incremental: str = 'none'

    @property
    def needs_ceph(self) -> bool:
        """Tell whether Glance's images must lie in Ceph."""
        return self.deliver == 'rbd'


VARIANTS = {variant.name: variant for variant in (
    Variant(figures.BARE, 'the bare PUT of the image that Nova\'s path makes',
            '#9e9e9e'),
    Variant('upstream', 'Nova\'s own calls, in their order', '#c0504d'),
    Variant('rebase', 'nova-snap, live_method = rebase, upload = file',
            '#4f81bd', 'rebase', 'file'),
    Variant('rebase-stream', 'nova-snap, live_method = rebase, '
            'upload = stream', '#1f497d', 'rebase', 'stream'),
    Variant('copy', 'nova-snap, live_method = copy, upload = file',
            '#8064a2', 'copy', 'file'),
    Variant('backup', 'nova-snap, live_method = backup, upload = stream',
            '#4e9a06', 'backup', 'stream'),
    Variant('backup-rbd', 'nova-snap, live_method = backup, deliver = rbd; '
            'with --ceph alone', '#e69f00', 'backup', 'stream', 'rbd'),
    Variant('flat', 'backup-rbd with incremental = flat, after 2 % of the '
            'data have changed', '#d55e00', 'backup', 'stream', 'rbd',
            'flat'),
    Variant('clone', 'backup-rbd with incremental = clone, after 2 % of the '
            'data have changed', '#cc79a7', 'backup', 'stream', 'rbd',
            'clone'),
)}


class Client:
    """Takes snapshots of one guest.

    :ivar finished: the image that Nova's path has made of it, the last one
    """

    def __init__(self, scene: scene_module.Scene,
                 guest: guest_domain.Guest) -> None:
        self._scene = scene
        self._guest = guest
        self._result = scene.folder / f'{guest.spec.name}.json'
        self._out = scene.folder / f'{guest.spec.name}.out'
        self.finished = guest.folder / 'finished'

    def why_not(self, variant: Variant) -> str:
        """Return why a variant cannot be taken; '' when it can."""
        if not variant.method:
            return ''
        if variant.needs_ceph and self._scene.ceph is None:
            return 'it is measured with --ceph'
        done = subprocess.run(
            [*self._ours(variant), '--dry-run'], capture_output=True,
            text=True, cwd=place.CHECKOUT)
        return (done.stderr.strip().splitlines() or ['it fails'])[-1] if (
            done.returncode) else ''

    def take(self, variant: Variant) -> tuple[str, dict[str, float]]:
        """Take a snapshot; return the image's id and what was used.

        :raises LabError: when the client fails, or leaves a process
        """
        if variant.method:
            used = self._run([*self._ours(variant), '--json'])
            said = json.loads(self._out.read_text())
            return str(said['images'][0]['image_id']), used
        image_id = self._scene.make_record()
        return image_id, self._run(
            self._upstream(image_id) if variant.name != figures.BARE else
            _python('bench.put', self._scene.glance.endpoint, image_id,
                    str(self.finished)))

    def start(self, variant: Variant) -> 'subprocess.Popen[bytes]':
        """Start a snapshot that :meth:`used` waits for, of ours alone."""
        return self._start([*self._ours(variant), '--json'])

    def _run(self, command: list[str]) -> dict[str, float]:
        with self._start(command) as process:
            return self.used(process)

    def used(self, process: 'subprocess.Popen[bytes]') -> dict[str, float]:
        """Wait for a snapshot and return what it used.

        :raises LabError: when it fails, or leaves a process
        """
        status = process.wait(LIMIT)
        errors_said = self._out.with_suffix('.err').read_text()[-2000:]
        if status:
            raise errors.LabError(f'the client ended with {status}: '
                                  f'{errors_said}')
        used: dict[str, float] = json.loads(self._result.read_text())
        if used['is_left']:
            raise errors.LabError(f'the client left a process: {errors_said}')
        return used

    def image_id(self) -> str:
        """Return the id of the image that ours has just made."""
        return str(json.loads(self._out.read_text())['images'][0]['image_id'])

    def _start(self, command: list[str]) -> 'subprocess.Popen[bytes]':
        with (self._out.open('wb') as out,
              self._out.with_suffix('.err').open('wb') as err):
            return subprocess.Popen(
                _python('bench.measured', str(self._result), '--', *command),
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                cwd=place.CHECKOUT)

    def _upstream(self, image_id: str) -> list[str]:
        return _python('bench.upstream', self._scene.libvirtd.uri,
                       self._guest.spec.uuid, str(self._scene.snapshots),
                       self._scene.glance.endpoint, image_id,
                       str(self.finished))

    def _ours(self, variant: Variant) -> list[str]:
        config: pathlib.Path = self._scene.config(
            variant.name, variant.method, variant.upload, variant.deliver,
            variant.incremental)
        return _python('bench.ours', '--config-file', str(config), '--quiet',
                       'image-create', self._guest.spec.uuid, 'bench')


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, '-m', module, *arguments]
