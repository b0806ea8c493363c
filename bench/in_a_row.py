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


"""Let one process take many snapshots of one guest, and look around it."""

import collections.abc as cabc
import json
import pathlib
import subprocess
import sys

from bench import meter as meter_module
from bench import rounds as rounds_module
from bench import row
from bench import scene as scene_module
from bench import shapes
from bench import variants as variants_module
from tests.lab import errors
from tests.lab.guest import domain as guest_domain
from tests.lab import place
from tests.lab import process

# Seconds for one snapshot of a guest as small as this one.
LIMIT = 120


def measure(scene: scene_module.Scene, shape: shapes.Shape,
            wanted: cabc.Iterable[variants_module.Variant],
            count: int, tables: dict[str, list[list[str]]]) -> None:
    """Take so many by each variant of ours.

    :param tables: gets what there was
    :raises LabError: when one fails, or when something grows
    """
    grown = []
    with scene.guest(shape) as guest:
        client = variants_module.Client(scene, guest)
        for variant in wanted:
            why = client.why_not(variant)
            if why or not variant.method:
                rounds_module.left_out(variant, why)
                continue
            # The first one makes folders that stay, and locks in them.
            image_id, _ = client.take(variant)
            scene.delete_image(image_id)
            before = _around(scene, guest)
            looks = _take(scene, guest, variant, count)
            after = _around(scene, guest)
            around = {name: (before[name], after[name]) for name in before}
            tables[f'{count} in a row, {variant.name}'] = row.lines(looks)
            tables[f'around them, {variant.name}'] = [
                ['what', 'before', 'after'],
                *([name, str(first), str(last)]
                  for name, (first, last) in around.items())]
            grown += [f'{variant.name}: {one}'
                      for one in row.grown(looks, around)]
    if grown:
        raise errors.LabError('it grows: ' + '; '.join(grown))


def _take(scene: scene_module.Scene, guest: guest_domain.Guest,
          variant: variants_module.Variant, count: int) -> list[list[int]]:
    report = scene.folder / 'row.json'
    config = scene.config(variant.name, variant.method, variant.upload,
                          variant.deliver, variant.incremental)
    process.run([sys.executable, '-m', 'bench.row', str(report), str(count),
                 scene.glance.endpoint, '--config-file', str(config),
                 '--quiet', 'image-create', '--json', guest.spec.uuid,
                 'bench'], timeout=LIMIT * count, cwd=place.CHECKOUT)
    looks: list[list[int]] = json.loads(report.read_text())
    return looks


def _around(scene: scene_module.Scene,
            guest: guest_domain.Guest) -> dict[str, int]:
    """Count what a snapshot could leave."""
    with scene.libvirtd.connection() as conn:
        domains = len(conn.listAllDomains())
    found = {'domains': domains, 'images': len(scene.glance.data_files())}
    for name, folder in (('instances', scene.instances),
                         ('state', scene.folder / 'state')):
        found[f'files in {name}'] = _files(folder)
    for name, pid in meter_module.pids(scene.run_dir, guest).items():
        found[f'descriptors of {name}'] = len(list(
            pathlib.Path(f'/proc/{pid}/fd').iterdir()))
    return found


def _files(folder: pathlib.Path) -> int:
    found = subprocess.run(['find', str(folder), '-type', 'f'],
                           capture_output=True, text=True, check=True)
    return len(found.stdout.splitlines())
