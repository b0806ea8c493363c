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

"""A libvirtd of the lab's own, which leaves the system's alone.

It runs in a private mount namespace with own folders in the place of
/run/libvirt, /var/lib/libvirt and the rest. A client outside reaches it by
:attr:`Libvirtd.uri`. Disks lie in the run folder, which is the same path
inside and outside, so a client may hand libvirt any path below it.
"""

import contextlib
import fcntl
import os
import pathlib
import signal
import struct
import typing as ty
import zlib

import libvirt

from tests.lab import errors
from tests.lab import kvm
from tests.lab import place
from tests.lab import process

FOLDERS = ('run', 'lib', 'log', 'cache', 'etc')

# Seconds. The first start asks QEMU for its capabilities.
START_TIMEOUT = 60

# :source: linux/include/uapi/linux/ext4.h
EXT4_IOC_SHUTDOWN = 0x8004587d
EXT4_GOING_FLAGS_NOLOGFLUSH = 2

QEMU_CONF = """\
# QEMU writes its log and its serial ports itself: a guest goes on when
# virtlogd does not.
stdio_handler = "file"
# The folders of the lab are in no AppArmor profile. File owners and modes
# are guarded as ever (libvirt's DAC driver).
security_driver = "none"
# Two libvirtds choose the same ports for VNC; a guest that is saved must find
# its own free again.
remote_display_port_min = {first}
remote_display_port_max = {last}
"""

# What makes a file system in a file, by its kind; files can share their blocks
# in the second one.
MAKE = {'ext4': ('mkfs.ext4', '-q', '-F'),
        'xfs': ('mkfs.xfs', '-q', '-f', '-m', 'reflink=1')}

# The ports that libvirt takes for VNC by default begin here, and there is
# room for so many blocks below those that the system gives to clients.
VNC_PORTS = 5900
VNC_BLOCK = 128
VNC_BLOCKS = 200

LIBVIRTD_CONF = """\
# Root alone, so no question to polkit.
unix_sock_rw_perms = "0700"
auth_unix_rw = "none"
auth_unix_ro = "none"
"""


class FileSystem:
    """A mounted ext4 that does what a storage does at its worst."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._hangs = False

    def hang(self, hangs: bool) -> None:
        """Let every write wait, or go on."""
        if hangs != self._hangs:
            self._hangs = hangs
            process.run(['fsfreeze', '--freeze' if hangs else '--unfreeze',
                         str(self.path)])

    def break_down(self) -> None:
        """Let every write fail from now on, as of a disk that is gone."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN,
                        struct.pack('I', EXT4_GOING_FLAGS_NOLOGFLUSH))
        finally:
            os.close(descriptor)


class Libvirtd:
    """libvirtd and virtlogd, with all their state below ``run_dir``.

    :ivar run_dir: absolute, short (a socket's path has 107 bytes at most)
    :ivar kvm_works: whether guests may be of type kvm
    """

    def __init__(self, run_dir: pathlib.Path | str) -> None:
        self.run_dir = pathlib.Path(run_dir)
        self.folder = self.run_dir / 'libvirt'
        self.mounts = self.run_dir / 'mnt'
        self._kvm_file = self.folder / 'kvm-works'
        # virtlogd also keeps the mount namespace alive when libvirtd ends.
        self._virtlogd = process.Daemon('virtlogd', self.folder)
        self._libvirtd = process.Daemon('libvirtd', self.folder)

    @classmethod
    def attach(cls, run_dir: pathlib.Path | str) -> 'Libvirtd':
        """Find the libvirtd that another process started in ``run_dir``.

        :raises LabError: when none runs there
        """
        found = cls(run_dir)
        found._require_running()
        return found

    @property
    def uri(self) -> str:
        """The connection URI for clients outside the namespace."""
        socket = self.folder / 'run' / 'libvirt-sock'
        return f'qemu+unix:///system?socket={socket}'

    @property
    def kvm_works(self) -> bool:
        """Whether guests run on KVM; known once started."""
        return self._kvm_file.read_text().strip() == 'yes'

    @property
    def running(self) -> bool:
        """Whether libvirtd runs."""
        return self._libvirtd.pid is not None

    def start(self) -> 'Libvirtd':
        """Start both daemons, unless they run, and wait until one answers.

        :raises LabError: when libvirtd does not start; its log says why
        """
        if self.running:
            return self
        self._prepare()
        self._start_virtlogd()
        self._start_libvirtd()
        return self

    def restart(self, while_it_is_down: ty.Callable[[], ty.Any] = (
            lambda: None)) -> None:
        """Restart libvirtd alone, as a package update does.

        Guests go on; connections of clients break.
        """
        self._libvirtd.stop(group=False)
        while_it_is_down()
        self._start_libvirtd()

    def stop(self) -> None:
        """Destroy every domain, end both daemons, unmount everything.

        Does nothing where nothing runs. What is on disk stays.
        """
        if self.running:
            self._destroy_domains()
        self._libvirtd.stop()
        self._kill_guests()
        self._virtlogd.stop()
        self._unmount()

    def connect(self) -> libvirt.virConnect:
        """Open a connection; the caller closes it."""
        libvirt.registerErrorHandler(lambda *_: None, None)
        return libvirt.open(self.uri)

    @contextlib.contextmanager
    def connection(self) -> ty.Iterator[libvirt.virConnect]:
        """Open a connection for the length of a ``with`` block."""
        conn = self.connect()
        try:
            yield conn
        finally:
            conn.close()

    @contextlib.contextmanager
    def small_file_system(self, name: str,
                          size: int) -> ty.Iterator[pathlib.Path]:
        """Mount a file system of ``size`` bytes which QEMU sees as well.

        For what happens when space runs out. tmpfs: files on it need
        ``cache`` other than none (it has no O_DIRECT).
        """
        path = place.make_dir(self.mounts / name)
        process.run(['mount', '-t', 'tmpfs', '-o', f'size={size},mode=755',
                     'nova_snap-lab', str(path)])
        try:
            yield path
        finally:
            process.run(['umount', '--lazy', str(path)])
            path.rmdir()

    @contextlib.contextmanager
    def own_file_system(self, name: str, size: int,
                        kind: str = 'ext4') -> ty.Iterator['FileSystem']:
        """Mount a real file system of ``size`` bytes, which may come to harm.

        It is in a file, and has O_DIRECT.

        :param kind: a key of MAKE
        """
        path = place.make_dir(self.mounts / name)
        image = self.mounts / f'{name}.img'
        with image.open('wb') as file:
            file.truncate(size)
        process.run([*MAKE[kind], str(image)])
        process.run(['mount', '-o', 'loop', str(image), str(path)])
        found = FileSystem(path)
        try:
            yield found
        finally:
            found.hang(False)
            process.run(['umount', '--lazy', str(path)])
            path.rmdir()
            image.unlink()

    def _require_running(self) -> None:
        if not self.running:
            raise errors.LabError(f'no libvirtd of the lab runs in '
                                  f'{self.run_dir}')

    def _prepare(self) -> None:
        _refuse_chroot()
        place.make_dir(self.run_dir)
        for name in FOLDERS:
            place.make_dir(self.folder / name)
        (self.folder / 'etc' / 'qemu.conf').write_text(
            _qemu_conf(self.run_dir))
        (self.folder / 'etc' / 'libvirtd.conf').write_text(LIBVIRTD_CONF)
        no_kvm = self.folder / 'no-kvm'
        no_kvm.touch()
        no_kvm.chmod(0)
        works = kvm.kvm_works()
        if works:
            kvm.make_device(self.folder / 'kvm')
        self._kvm_file.write_text('yes\n' if works else 'no\n')
        place.make_dir(self.mounts)
        if not self.mounts.is_mount():
            # Only a shared mount passes on what is mounted below it later.
            process.run(['mount', '--bind', str(self.mounts),
                         str(self.mounts)])
            process.run(['mount', '--make-shared', str(self.mounts)])

    def _start_virtlogd(self) -> None:
        if self._virtlogd.pid is not None:
            return
        socket = self.folder / 'run' / 'virtlogd-sock'
        socket.unlink(missing_ok=True)
        # The mount points exist where libvirt was installed, but for /run
        # where it was never started.
        pathlib.Path('/run/libvirt').mkdir(exist_ok=True)
        script = pathlib.Path(__file__).with_name('namespace.sh')
        self._virtlogd.start([
            'unshare', '--mount', '--propagation', 'unchanged',
            'sh', str(script), str(self.folder),
            'yes' if self.kvm_works else 'no',
            'virtlogd', '--pid-file', str(self.folder / 'virtlogd.own.pid')])
        self._virtlogd.wait_ready(socket.exists, timeout=START_TIMEOUT)

    def _start_libvirtd(self) -> None:
        self._libvirtd.start([
            'nsenter', '--target', str(self._virtlogd.pid), '--mount',
            'libvirtd', '--pid-file', str(self.folder / place.PID_FILE),
            '--config', '/etc/libvirt/libvirtd.conf'])
        self._libvirtd.wait_ready(self._answers, timeout=START_TIMEOUT)

    def _answers(self) -> bool:
        try:
            with self.connection() as conn:
                conn.getLibVersion()
        except libvirt.libvirtError:
            return False
        return True

    def _destroy_domains(self) -> None:
        with self.connection() as conn:
            for domain in conn.listAllDomains():
                with contextlib.suppress(libvirt.libvirtError):
                    domain.destroy()
                with contextlib.suppress(libvirt.libvirtError):
                    domain.undefineFlags(
                        libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE |
                        libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                        libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA |
                        libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)

    def _kill_guests(self) -> None:
        """End the guests that libvirtd could not end, because it died."""
        for pid_file in (self.folder / 'run' / 'qemu').glob('*.pid'):
            pid = int(pid_file.read_text())
            if _is_guest(pid, pid_file.stem):
                os.kill(pid, signal.SIGKILL)
            pid_file.unlink()

    def _unmount(self) -> None:
        for mount in _mounts_below(self.mounts):
            process.run(['umount', '--lazy', mount])


def _qemu_conf(run_dir: pathlib.Path) -> str:
    """Return qemu.conf, with ports that depend on the run folder alone."""
    block = zlib.crc32(bytes(run_dir)) % VNC_BLOCKS
    first = VNC_PORTS + block * VNC_BLOCK
    return QEMU_CONF.format(first=first, last=first + VNC_BLOCK - 1)


def _refuse_chroot() -> None:
    """Refuse to start where libvirt would damage the host's /dev.

    To fill a guest's own /dev it joins the guest's mount namespace, and with
    that leaves a chroot: it then works in the /dev of the real root. There
    it finds that /dev/kvm is not what it is here and removes it.

    :raises LabError: in a chroot; a container with a root of its own is fine
    :source: setns(2) with CLONE_NEWNS sets the root to the namespace's;
        seen with libvirt 9.0
    """
    here = os.stat('/')
    root = process.run(['nsenter', '--mount=/proc/self/ns/mnt',
                        'stat', '--format', '%d:%i', '/']).strip()
    if root != f'{here.st_dev}:{here.st_ino}':
        raise errors.LabError('this is a chroot: libvirt would leave it and '
                              'change /dev of the host. Use a container')


def _is_guest(pid: int, name: str) -> bool:
    """Tell whether a process is the QEMU of this guest, not a later one."""
    try:
        command = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()
    except OSError:
        return False
    arguments = command.decode(errors='replace').split('\0')
    return any(argument.startswith(f'guest={name},') for argument in arguments)


def _mounts_below(folder: pathlib.Path) -> list[str]:
    """List mount points at and below a folder, the last one first."""
    mounts = pathlib.Path('/proc/self/mounts').read_text().splitlines()
    points = [line.split()[1] for line in mounts]
    return [point for point in reversed(points)
            if pathlib.Path(point).is_relative_to(folder)]
