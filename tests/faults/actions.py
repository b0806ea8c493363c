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

"""What others do while a snapshot waits at a call: other clients, the machine.

Each public method of :class:`Actions` is one act; its name is what a fault of
the kind ``ask`` has as its value.
"""

import contextlib
import http
import json
import os
import pathlib
import re
import signal
import threading
import time
import urllib.error

import libvirt
import libvirt_qemu

from nova_snap import units
from tests.faults import aftermath as aftermath_module
from tests.faults import last_image
from tests.faults import scene as scene_module
from tests.faults import world
from tests.lab import errors
from tests.lab.guest import domain as guest_domain
from tests.lab import hypervisor
from tests.lab import place
from tests.lab import process

# Seconds for which a process stands still: longer than libvirt's client waits
# for an answer to its keepalive (5 s, three times), and a short while.
HANG_SECONDS = 24
PAUSE_SECONDS = 3
# Seconds until a program of the snapshot is there, and between two looks.
PROGRAM_TIMEOUT = 20
LOOK_SECONDS = 0.002

PIECE = units.MiB

# Of another client's block job: the file that a disk is moved to, with what
# lies below it, and by which flags libvirt takes one of a persistent domain.
FOREIGN = 'theirs.qcow2'
FOREIGN_XML = """<disk type='file'>
  <driver type='qcow2'/><source file='{}'/>
</disk>"""
FOREIGN_FLAGS = (libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW
                 | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB)

# Of files in a scratch directory.
NAMES = ('delta.qcow2', 'image-vda', 'clone-vda', 'nbd-vda')


class Actions:
    """The acts; ``guest`` is that of the case.

    :ivar is_refused: the last one was not let happen
    """

    def __init__(self, scene: scene_module.Scene,
                 guest: guest_domain.Guest) -> None:
        self._scene = scene
        self._guest = guest
        self._threads: list[threading.Thread] = []
        self._foreign = scene.folder / FOREIGN
        # Of a guest that was removed since.
        self._foreign.unlink(missing_ok=True)
        self.is_refused = False

    def act(self, words: str) -> None:
        """Do what a fault names, with its arguments."""
        name, *arguments = words.split(' ')
        getattr(self, name)(*arguments)

    def finish(self) -> None:
        """Wait for what goes on by itself."""
        for thread in self._threads:
            thread.join()

    def _later(self, seconds: float, act: object) -> None:
        timer = threading.Timer(seconds, act)  # type: ignore[arg-type]
        timer.start()
        self._threads.append(timer)

    # libvirt and QEMU

    def restart_libvirtd(self) -> None:
        """Restart it, as a package update does."""
        self._scene.libvirtd.restart()

    def kill_libvirtd(self) -> None:
        """Let it crash; what watches it starts it again."""
        os.kill(self._libvirtd(), signal.SIGKILL)
        self._scene.libvirtd.restart()

    def pause_libvirtd(self) -> None:
        """Let it stand still for a short while."""
        self._stop_for(self._libvirtd(), PAUSE_SECONDS)

    def hang_libvirtd(self) -> None:
        """Let it stand still until its clients give it up."""
        self._stop_for(self._libvirtd(), HANG_SECONDS)

    def pause_qemu(self) -> None:
        """Let the guest's QEMU stand still for a short while."""
        for pid in aftermath_module.qemus(self._guest):
            self._stop_for(pid, PAUSE_SECONDS)

    def _libvirtd(self) -> int:
        file = self._scene.libvirtd.folder / place.PID_FILE
        return int(file.read_text())

    def _stop_for(self, pid: int, seconds: float) -> None:
        os.kill(pid, signal.SIGSTOP)
        self._later(seconds, lambda: os.kill(pid, signal.SIGCONT))

    # Ceph

    def pause_osd(self) -> None:
        """Let what has the data stand still for a short while."""
        self._stop_for(self._osd(), PAUSE_SECONDS)

    def hang_osd(self) -> None:
        """Let it stand still longer than a guest may be frozen."""
        self._stop_for(self._osd(), HANG_SECONDS)

    def _osd(self) -> int:
        assert self._scene.ceph is not None
        return self._scene.ceph.osd_pid()

    # The guest

    def destroy_guest(self) -> None:
        """Pull the plug."""
        with contextlib.suppress(libvirt.libvirtError):
            self._guest.domain.destroy()

    def kill_qemu(self) -> None:
        """Let QEMU crash."""
        for pid in aftermath_module.qemus(self._guest):
            os.kill(pid, signal.SIGKILL)

    def pause_guest(self) -> None:
        """Pause it, as another client does."""
        with contextlib.suppress(libvirt.libvirtError):
            self._guest.domain.suspend()

    def reset_guest(self) -> None:
        """Press the reset button."""
        with contextlib.suppress(libvirt.libvirtError):
            self._guest.domain.reset()

    def shut_guest_down(self) -> None:
        """Press the power button; the guest is off when it likes."""
        with contextlib.suppress(libvirt.libvirtError):
            self._guest.domain.shutdownFlags(
                libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

    def undefine_guest(self) -> None:
        """Undefine it, if it is defined; it runs on."""
        with contextlib.suppress(libvirt.libvirtError):
            self._guest.domain.undefineFlags(guest_domain.UNDEFINE)

    def migrate_guest(self) -> None:
        """Let it be on another host: here it is gone, and its disk stays."""
        self.destroy_guest()
        self.undefine_guest()

    def delete_guest(self) -> None:
        """Destroy and undefine it, and remove its disk, as Nova does."""
        self._guest.remove()

    def start_guest(self) -> None:
        """Start it, if it is off.

        While its disk is read QEMU's locks keep it off.
        """
        try:
            self._guest.domain.create()
        except libvirt.libvirtError:
            self.is_refused = True

    def start_foreign_job(self) -> None:
        """Begin to move its disk, as another client does.

        libvirt lets nothing begin while another job is on it.
        """
        xml = FOREIGN_XML.format(self._foreign)
        try:
            self._guest.domain.blockCopy(self._target(), xml,
                                         flags=FOREIGN_FLAGS)
        except libvirt.libvirtError:
            self._foreign.unlink(missing_ok=True)
            self.is_refused = True

    def end_foreign_job(self) -> list[str]:
        """End it as its client does; say if another has ended it."""
        if not self._foreign.exists():
            return []
        said = []
        if not scene_module.is_gone(self._guest) and (
                self._guest.domain.isActive()):
            try:
                if str(self._foreign) not in self._guest.domain.XMLDesc():
                    raise errors.LabError('it is not there')
                self._guest.domain.blockJobAbort(self._target())
            except (errors.LabError, libvirt.libvirtError) as exc:
                said = [f'{world.LOST}: the block job of another client: '
                        f'{exc}']
        self._foreign.unlink()
        return said

    def _target(self) -> str:
        found = re.search(r"<target dev='(\w+)' bus='virtio'",
                          self._guest.domain.XMLDesc())
        assert found is not None
        return found[1]

    def remove_bitmaps(self) -> None:
        """Let its disk be without what says what has changed."""
        for name, node in last_image.bitmaps(self._guest).items():
            libvirt_qemu.qemuMonitorCommand(self._guest.domain, json.dumps({
                'execute': 'block-dirty-bitmap-remove',
                'arguments': {'node': node, 'name': name}}), 0)

    # Images

    def delete_images(self) -> None:
        """Delete the image that is made, as its owner does."""
        made = [image for image in self._scene.own_images()
                if image['status'] != 'active']
        self.is_refused = not made
        self._scene.delete_all(made)

    def delete_last_image(self) -> None:
        """Delete the image that the next one is to begin as.

        Glance keeps one that has a clone.
        """
        for image_id in list(self._scene.spared):
            try:
                self._scene.delete_image(image_id)
            except urllib.error.HTTPError as exc:
                if exc.code != http.HTTPStatus.CONFLICT:
                    raise
                self.is_refused = True
            else:
                self._scene.spared.discard(image_id)

    # Disk and programs

    def fill(self, left: str) -> None:
        """Leave so many bytes of the small file system."""
        folder = self._storage().path
        with open(folder / scene_module.FILLER, 'ab', buffering=0) as file:
            while (free := _free(folder) - int(left)) > 0:
                try:
                    os.posix_fallocate(
                        file.fileno(), os.fstat(file.fileno()).st_size,
                        min(free, PIECE))
                except OSError:
                    return

    def make_read_only(self) -> None:
        """Mount it read-only, as the kernel does after an error.

        Also where a file is open to be written to.
        """
        process.run(['mount', '-o', 'remount,abort',
                     str(self._storage().path)])

    def break_down(self) -> None:
        """Let every access to it fail."""
        self._storage().break_down()

    def close_directory(self) -> None:
        """Let no other user enter the scratch directories."""
        for path in self._scene.small_snapshots.iterdir():
            if path.is_dir() and path.name != 'lost+found':
                path.chmod(0o700)

    def plant_links(self) -> None:
        """Let links wait in the scratch directory, where files will be."""
        victim = self._scene.victim
        victim.write_bytes(scene_module.VICTIM)
        for folder in self._scene.snapshots.iterdir():
            for name in NAMES:
                with contextlib.suppress(FileExistsError):
                    (folder / name).symlink_to(victim)

    def remove_scratch(self) -> None:
        """Remove what is there, as a careless operator does."""
        for path in self._scene.snapshots.rglob('*'):
            if path.is_file():
                path.unlink()

    def kill_program(self, name: str) -> None:
        """Kill the next of our programs of this name."""
        def kill() -> None:
            deadline = time.monotonic() + PROGRAM_TIMEOUT
            while time.monotonic() < deadline:
                for pid in self._programs(name):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    return
                time.sleep(LOOK_SECONDS)

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()

    def _programs(self, name: str) -> list[int]:
        return [pid for pid, words in process.command_lines().items()
                if name in words.partition(' ')[0] and (
                    str(self._scene.folder) in words
                    or str(self._scene.small_snapshots) in words)
                and pathlib.Path(f'/proc/{pid}').exists()]

    def _storage(self) -> hypervisor.FileSystem:
        return self._scene.small()


def _free(path: pathlib.Path) -> int:
    figures = os.statvfs(path)
    # Root, who writes most of it, may use what is kept for root.
    return figures.f_bfree * figures.f_frsize
