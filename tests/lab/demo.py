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

"""The main job, end to end, on real libvirt, QEMU and Glance.

``python -m tests.lab.demo``: what ``tools/demo`` runs when all is installed.
"""

import contextlib
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time
import typing as ty
import urllib.request

import libvirt

from tests.lab import errors
from tests.lab import glance as glance_module
from tests.lab.guest import build as guest_build
from tests.lab.guest import copy as guest_copy
from tests.lab.guest import domain as guest_domain
from tests.lab import hypervisor
from tests.lab import place
from tests.lab import proof

GUEST = 'demo'
CONFIG = """\
[DEFAULT]
state_path = {state}
instances_path = {instances}

[libvirt]
virt_type = qemu
connection_uri = {uri}

[nova_snap]
auth_type = none
endpoint = {endpoint}
"""
# What a stranger wants to see of an image.
SHOWN = ('id', 'name', 'status', 'disk_format', 'container_format', 'size',
         'virtual_size', 'min_disk', 'os_hash_algo', 'os_hash_value',
         'image_type', 'instance_uuid', 'nova_snap_consistency')


# How the command names the image that it has made.
IMAGE = re.compile(r'^Image (\S+) \(', re.MULTILINE)


def say(words: str) -> None:
    """Tell what is being done."""
    print(f'== {words}', flush=True)


def find_image(said: str) -> str:
    """Find the image's id in what image-create prints.

    :raises LabError: when it names none
    """
    found = IMAGE.search(said)
    if found is None:
        raise errors.LabError('nova-snap named no image')
    return found[1]


def describe_moment(last: int, notes: ty.Mapping[str, ty.Any]) -> str:
    """Say which moment an image is of, in the guest's records.

    :param notes: what the witness wrote down
    """
    before, after = notes['reported_before'], notes['reported_after']
    if 'disk' in notes:
        return (f'it ends with record {last}; the guest had reported '
                f'{before} when it was saved')
    return (f'it ends with record {last}; the guest had reported {before} '
            f'before the abort, {after} after it')


class Demo:
    """One guest, two snapshots, two proofs."""

    def __init__(self) -> None:
        """Start what does not run yet."""
        run_dir = place.default_run_dir()
        self.images = glance_module.Glance(run_dir).start(wait=False)
        say('building the guest: Debian\'s cloud kernel, a busybox '
            'initramfs, an ext4 root disk')
        guest_build.parts()
        self.libvirtd = hypervisor.Libvirtd(run_dir).start()
        say('libvirt runs at ' + self.libvirtd.uri + (
            ', with KVM' if self.libvirtd.kvm_works else
            '; KVM does not work here, QEMU emulates'))
        self.images.wait_ready()
        say(f'Glance runs at {self.images.endpoint}')
        self.folder = place.make_dir(run_dir / 'demo')
        self.config = self._write_config(run_dir)

    def _write_config(self, run_dir: pathlib.Path) -> pathlib.Path:
        config = self.folder / 'nova.conf'
        config.write_text(CONFIG.format(
            state=self.folder, uri=self.libvirtd.uri,
            instances=place.make_dir(run_dir / 'instances'),
            endpoint=self.images.endpoint))
        return config

    def run(self) -> None:
        """Take both snapshots and prove them.

        :raises LabError: when a command or a proof fails
        """
        self._remove_earlier()
        guest = guest_domain.Guest.create(self.libvirtd, 'qcow2-on-raw-base',
                                    name=GUEST)
        try:
            guest.boot()
            say(f'guest {GUEST} runs and writes numbered records to its '
                'disk; its console reports each once it is durable, the '
                f'last one is {guest.last_record()}')
            self._command('list')
            for method, flags in (('live', []), ('cold', ['--cold'])):
                self._snapshot(guest, method, flags)
            self._command('status')
        finally:
            guest.remove()

    def _snapshot(self, guest: guest_domain.Guest, method: str,
                  flags: list[str]) -> None:
        notes = self.folder / f'{method}.json'
        said = self._command(
            'image-create', *flags, GUEST, f'demo-{method}',
            run_by=['-m', 'tests.lab.witness', str(guest.spec.console),
                    str(notes), '--'])
        image = self._show(find_image(said))
        self._prove(guest, image, json.loads(notes.read_text()))
        if not guest.is_writing():
            raise errors.LabError('the guest does not write any more')
        print('   the guest goes on writing')

    def _show(self, image_id: str) -> dict[str, ty.Any]:
        with urllib.request.urlopen(
                f'{self.images.endpoint}/v2/images/{image_id}') as answer:
            image: dict[str, ty.Any] = json.load(answer)
        print('   Glance says of it:')
        for key in SHOWN:
            print(f'   {key:22} {image.get(key)}')
        if image['status'] != 'active':
            raise errors.LabError(f'image {image_id} is {image["status"]}')
        return image

    def _prove(self, guest: guest_domain.Guest, image: dict[str, ty.Any],
               notes: dict[str, ty.Any]) -> None:
        path = self.folder / image['id']
        try:
            self._download(image['id'], path)
            fmt = image['disk_format']
            proof.assert_sound(path, fmt)
            print('   proved: qemu-img check is clean, no backing file')
            last = proof.assert_point_in_time(
                path, fmt, reported_before=notes['reported_before'],
                reported_after=notes['reported_after'])
            print(f'   proved: {describe_moment(last, notes)}')
            if 'disk' in notes:
                proof.assert_same_content(path, fmt, notes['disk'], 'raw')
                print('   proved: it equals a copy of the disk that was made '
                      'while the guest was saved, byte for byte')
            found = guest_copy.assert_boots(self.libvirtd, path, fmt)
            print('   proved: a second guest boots from it, its files are '
                  f'whole and it finds records 0 to {found.records - 1}')
        finally:
            for leftover in (path, pathlib.Path(notes.get('disk', path))):
                leftover.unlink(missing_ok=True)

    def _download(self, image_id: str, path: pathlib.Path) -> None:
        url = f'{self.images.endpoint}/v2/images/{image_id}/file'
        with urllib.request.urlopen(url) as data, path.open('wb') as file:
            shutil.copyfileobj(data, file)

    def _command(self, *words: str,
                 run_by: ty.Sequence[str] = (
                     '-m', 'nova_snap.cmd.main')) -> str:
        """Run nova-snap as an operator does, and return what it printed.

        :param run_by: the program of Python that runs it; not shown, since
            it makes no difference to what the operator sees
        :raises LabError: when it fails
        """
        words = ('--config-file', str(self.config), *words)
        print('\n$ ' + shlex.join(
            [str(pathlib.Path(sys.executable).with_name('nova-snap')),
             *words]), flush=True)
        done = subprocess.run([sys.executable, *run_by, *words], text=True,
                              stdout=subprocess.PIPE, cwd=place.CHECKOUT)
        print(done.stdout, end='', flush=True)
        if done.returncode:
            raise errors.LabError(f'nova-snap ended with {done.returncode}')
        return done.stdout

    def _remove_earlier(self) -> None:
        """Remove what an interrupted demo left."""
        with self.libvirtd.connection() as connection:
            for found in connection.listAllDomains():
                if found.name() == GUEST:
                    with contextlib.suppress(libvirt.libvirtError):
                        found.destroy()
                    found.undefineFlags(guest_domain.UNDEFINE)


def main() -> int:
    """Run the demo and say what it did."""
    started = time.monotonic()
    try:
        Demo().run()
    except errors.LabError as exc:
        print(f'demo: FAILED: {exc}', file=sys.stderr)
        return 1
    say(f'done in {time.monotonic() - started:.0f} s: a live and a cold '
        'snapshot were taken of a writing guest, both images are in Glance, '
        'whole, and a guest boots from each')
    say('libvirt and Glance still run; "tools/demo --down" ends them')
    return 0


if __name__ == '__main__':
    sys.exit(main())
