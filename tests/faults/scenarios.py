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

"""Cases of a snapshot as a whole: load, hostile input, secrets in logs."""

import concurrent.futures
import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import time
import uuid as uuid_module

from tests.faults import children as children_module
from tests.faults import flows as flows_module
from tests.faults import hostile
from tests.faults import kinds
from tests.faults import sick
from tests.faults import trial as trial_module
from tests.faults import world
from tests.lab import errors
from tests.lab.guest import build as guest_build
from tests.lab.guest import domain as guest_domain
from tests.lab import place
from tests.lab import proof
from tests.lab import unreadable

# Of the command: see nova_snap/cmd/main.py.
DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3

# Records that a recovery finds at once, and its seconds for them: those of
# nova-compute's start. :source: nova_snap/driver/recovery.py
RECORDS = 100
RECOVERY_BUDGET = 60
# Guests at once, and how many of them at a time.
GUESTS = 8
AT_A_TIME = 2
# Seconds for one command among others.
PATIENCE = 300

SECRET = b'of the host, and for no guest.  '


class Scenarios:
    """Each public method is one case; it returns what is wrong.

    :ivar images: that it leaves on purpose
    :ivar how: it ended, in a word
    """

    def __init__(self, trial: trial_module.Trial) -> None:
        self._trial = trial
        self._scene, self._guest = trial.scene, trial.guest
        self.images = 0
        self.how = 'done'

    def run(self, words: str) -> list[str]:
        """Run one, with its argument."""
        name, *arguments = words.split(' ')
        return list(getattr(self, name)(*arguments))

    # Load

    def same_instance_twice(self) -> list[str]:
        """Take two snapshots of one guest at once: one has to wait or go."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            ends = [one.result() for one in [
                pool.submit(self._trial.take, number) for number in range(2)]]
        codes = sorted(ended.code for ended in ends)
        self.images = codes.count(DONE)
        self.how = f'ended with {codes}'
        return [] if codes in ([DONE, REFUSED], [DONE, DONE]) else [
            f'{world.LOST}: two at once ended with {codes}']

    def recovery_next_to_another(self) -> list[str]:
        """Recover one guest while a snapshot of another is under way."""
        other = self._scene.another()
        ended = self._trial.take(at='Images.upload.1', when='before',
                           kind='signal', value=signal.SIGKILL)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            taking = pool.submit(self._trial.take, 1, guest=other)
            recovered = self._trial.recover()
            taken = taking.result()
        self.images = 1
        said = [f'{world.LEFT}: {what.code}: {what.stderr}'
                for what in (recovered, taken) if what.code]
        if ended.code != children_module.KILLED:
            said.append(f'{world.LEFT}: it outlived a kill')
        return said

    def hundred_records(self) -> list[str]:
        """Settle a hundred left records in the time of a start."""
        self._trial.take(at='QemuImg.convert.1', when='before', kind='signal',
                   value=signal.SIGKILL)
        (path,) = self._scene.records.glob('*.json')
        record = json.loads(path.read_text())
        for _ in range(RECORDS - 1):
            record['id'] = str(uuid_module.uuid4())
            copy = path.with_name(f'{record["id"]}.json')
            copy.touch(0o600)
            copy.write_text(json.dumps(record))
        began = time.monotonic()
        ended = self._trial.recover()
        took = time.monotonic() - began
        self.how = f'settled in {took:.1f} s'
        said = [f'{world.LEFT}: {ended.stderr}'] if ended.code else []
        if took > RECOVERY_BUDGET:
            said.append(f'{world.LEFT}: it took {took:.0f} s')
        return said

    def eight_guests(self) -> list[str]:
        """Take snapshots of eight guests, two at a time."""
        guests = [self._guest]
        try:
            while len(guests) < GUESTS:
                guests.append(guest_domain.Guest.create(
                    self._scene.libvirtd, 'qcow2-on-raw-base', agent='run'))
                guests[-1].boot()
            with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
                ends = list(pool.map(self._command, guests))
        finally:
            for guest in guests[1:]:
                guest.remove()
        self.images = GUESTS
        return [f'{world.LOST}: {ended.stderr}' for ended in ends
                if ended.returncode]

    # Guests that are ill

    def agent(self, word: str) -> list[str]:
        """Require a freeze of a guest whose agent is not as it should be."""
        guest = guest_domain.Guest.create(
            self._scene.libvirtd, 'qcow2-on-raw-base', agent=word)
        try:
            guest.boot()
            before = world.look(guest)
            ended = self._trial.take(guest=guest)
            self.images = int(ended.code == DONE)
            self.how = f'ended with {ended.code}'
            said = [f'{world.LEFT}: {ended.code}: {ended.stderr}'
                    for _ in (0,) if ended.code == children_module.ENDLESS
                    or 'Traceback' in ended.stderr]
            if ended.code == DONE and word not in sick.FREEZING:
                said.append(f'{world.LOST}: no freeze, and an image')
            if word in sick.ANSWERING:
                self._scene.await_answer(guest)
            if self._scene.has_files():
                said += [f'{world.LEFT}: {ended.stderr}' for ended in
                         (self._trial.recover(),) if ended.code]
            return said + world.guest_problems(
                guest, before, kinds.After.SAME, is_cold=False,
                has_agent=word in sick.ANSWERING)
        finally:
            guest.remove()

    def unreadable_disk(self) -> list[str]:
        """Let a sector of the disk be unreadable that the guest leaves be.

        It is the first of its own records.
        """
        guest = guest_domain.Guest.create(self._scene.libvirtd, 'raw',
                                          agent='run')
        is_off = self._trial.flow.kind in flows_module.OFF
        behind = guest.spec.disk
        assert behind is not None
        path = guest.libvirtd.mounts / guest.spec.uuid
        guest.spec = dataclasses.replace(
            guest.spec, disk=dataclasses.replace(behind, path=path))
        try:
            with unreadable.served(behind.path, path,
                                   guest_build.RECORDS_OFFSET) as disk:
                guest.boot()
                self._scene.await_agent(guest)
                if is_off:
                    guest.destroy()
                before = world.look(guest)
                disk.go_bad()
                ended = self._trial.take(guest=guest)
                disk.go_bad(False)
                self.how = 'failed' if ended.code == FAILED else (
                    f'ended with {ended.code}')
                said = [] if ended.code == FAILED else [
                    f'{world.LOST}: {ended.code}: {ended.stderr}']
                said += world.guest_problems(
                    guest, before, kinds.After.SAME,
                    is_cold=self._trial.flow.is_cold)
                guest.destroy()
            return said + world.gaps(behind, before.last_record)
        finally:
            guest.remove()

    # Hostile input

    def header(self, name: str) -> list[str]:
        """Let the guest have written a header into its raw disk."""
        secret = self._scene.folder / 'secret'
        secret.write_bytes(SECRET * 4096)
        disk = self._disk()
        said = []
        before = {}
        with disk.open('r+b') as file:
            for offset, content in hostile.HEADERS[name](secret).items():
                file.seek(offset)
                before[offset] = file.read(len(content))
                file.seek(offset)
                file.write(content)
        try:
            for image_format in ('raw', 'qcow2', 'vmdk'):
                said += self._own_bytes(disk, image_format)
        finally:
            with disk.open('r+b') as file:
                for offset, content in before.items():
                    file.seek(offset)
                    file.write(content)
        return said

    def _own_bytes(self, disk: pathlib.Path, image_format: str) -> list[str]:
        """Take a snapshot; the image has the disk's bytes, or there is none.

        Glance does not take each raw image that looks like another format.
        """
        ended = self._trial.take(extra=('--format', image_format))
        if ended.code:
            self.how = f'{image_format} refused'
            return [] if ended.code in (FAILED, REFUSED) else [
                f'{world.LEFT}: {ended.code}: {ended.stderr}']
        (image,) = self._scene.own_images()
        path = self._scene.glance.folder / 'images' / image['id']
        try:
            proof.assert_sound(path, image_format)
            proof.assert_same_content(path, image_format, disk, 'raw')
        except errors.LabError as exc:
            return [f'{world.LET_IN}: {exc}']
        finally:
            self._scene.delete_image(image['id'])
        return []

    def name(self, name: str) -> list[str]:
        """Give the image a name that means something to a program."""
        text = hostile.NAMES[name]
        ended = self._trial.take(image=text)
        self.how = 'done' if ended.code == DONE else 'refused'
        if ended.code in (USAGE, REFUSED):
            return []
        said = []
        found = [image for image in self._scene.images().values()
                 if image['name'] == text]
        if ended.code or len(found) != 1:
            said.append(f'{world.LOST}: {ended.code}, {len(found)} images: '
                        f'{ended.stderr}')
        for image in found:
            self._scene.delete_image(image['id'])
        return said

    # Secrets

    def debug_log(self) -> list[str]:
        """Log all that can be logged: all of it is searched for secrets."""
        ended = self._trial.take(first=('--debug',))
        self.images = ended.code == DONE
        if 'DEBUG' not in ended.stderr or ended.code:
            return [f'{world.LOST}: nothing was logged: {ended.stderr}']
        return []

    def _command(self, guest: guest_domain.Guest
                 ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, '-m', 'nova_snap.cmd.main', '--config-file',
             self._trial.config, 'image-create', guest.spec.uuid, 'campaign',
             *self._trial.flow.arguments], capture_output=True, text=True,
            timeout=PATIENCE, cwd=place.CHECKOUT)
        self._scene.said += [done.stdout, done.stderr]
        return done

    def _disk(self) -> pathlib.Path:
        disk = self._guest.spec.disk
        assert disk is not None
        return disk.path
