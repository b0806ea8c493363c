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

"""Build the outer machine: a QEMU that is newer, a root disk, a kernel.

What is fetched is fetched once and kept in the lab's folder, each under its
final name only when it is whole. Nothing is installed on this machine.
"""

import collections.abc as cabc
import hashlib
import pathlib
import shutil

from tests.lab import errors
from tests.lab.guest import build as guest_build
from tests.lab import place
from tests.lab import process

HERE = pathlib.Path(__file__).resolve().parent
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

# The QEMU of Debian 12 has no network card with SR-IOV (igb came with QEMU
# 8), that of the next release has. It is unpacked with all its libraries.
QEMU_SUITE = 'trixie'
QEMU_PACKAGES = ('qemu-system-x86', 'seabios', 'ipxe-qemu')

# What a compute node has, and nothing more. The virtual environment comes
# from this machine, so Python and libvirt have to be of the same release.
ROOT_SUITE = 'bookworm'
ROOT_PACKAGES = ('libvirt-daemon-system', 'libvirt-clients',
                 'qemu-system-x86', 'qemu-utils', 'python3', 'iproute2',
                 'kmod', 'udev')
LEFT_OUT = ('/usr/share/man/*', '/usr/share/doc/*', '/usr/share/locale/*')
ROOT_SIZE = '4G'

KERNEL = 'linux-image-amd64'
# To reach the root disk and the folders of this machine.
BOOT_MODULES = ('virtio_pci', 'virtio_blk', 'crc32c_generic', 'ext4',
                '9pnet_virtio', '9p')
# What machine-init loads.
ROOT_MODULES = ('virtio_net', 'virtio_console', 'virtio_rng', 'vfio-pci',
                'vfio_iommu_type1', 'nvme', 'igb', 'igbvf', 'tun', 'bridge')
BUSYBOX = pathlib.Path('/bin/busybox')

# Seconds: packages of two releases, on a slow day.
FETCH_TIMEOUT = 1800

GUEST_FLAGS = ('-m32', '-O1', '-Wall', '-Wextra', '-Werror', '-ffreestanding',
               '-fno-pic', '-no-pie', '-fno-stack-protector',
               '-fno-asynchronous-unwind-tables', '-mgeneral-regs-only',
               '-nostdlib', '-static', '-Wl,--build-id=none',
               '-Wl,-z,noexecstack', '-Wl,--section-start=.boot=0x100000',
               '-Wl,-Ttext=0x101000')


def folder() -> pathlib.Path:
    """Name the folder of all that is kept for such a run."""
    return place.make_dir(place.lab_dir() / 'vfio')


def qemu() -> pathlib.Path:
    """Return the folder of the newer QEMU; fetch it if it is not there."""
    return _once('qemu', QEMU_PACKAGES, lambda target: _bootstrap(
        target, QEMU_SUITE, 'extract', QEMU_PACKAGES))


def kernel() -> pathlib.Path:
    """Return the folder of the unpacked kernel of the outer machine."""
    return _once('kernel', (KERNEL,), _fetch_kernel)


def root_disk() -> pathlib.Path:
    """Return the root disk of the outer machine, which was never booted."""
    return _once('root', ROOT_PACKAGES + ROOT_MODULES, _make_root_disk)


def vmlinuz() -> pathlib.Path:
    """Return the outer machine's kernel."""
    (found,) = (kernel() / 'boot').glob('vmlinuz-*')
    return found


def initrd() -> pathlib.Path:
    """Make what the outer machine boots with, anew."""
    tree = folder() / 'initramfs'
    shutil.rmtree(tree, ignore_errors=True)
    for name in ('bin', 'dev', 'proc', 'sys', 'root'):
        place.make_dir(tree / name)
    shutil.copy(BUSYBOX, tree / 'bin' / 'busybox')
    (tree / 'bin' / 'sh').symlink_to('busybox')
    shutil.copy(HERE / 'boot-init', tree / 'init')
    (tree / 'init').chmod(0o755)
    _copy_modules(tree, BOOT_MODULES)
    made = folder() / 'initrd.gz'
    guest_build.pack_initramfs(tree, made)
    shutil.rmtree(tree)
    return made


def guest(target: pathlib.Path) -> None:
    """Compile the kernel of the inner guest."""
    process.run(['gcc', *GUEST_FLAGS, '-o', str(target),
                 str(HERE / 'guest' / 'kernel.c')])


def _once(name: str, parts: tuple[str, ...],
          make: cabc.Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Return what is made of these parts; make it when it is not there."""
    digest = hashlib.sha256(' '.join(parts).encode()).hexdigest()
    made = folder() / f'{name}-{digest[:8]}'
    if not made.exists():
        unfinished = folder() / f'{name}.unfinished'
        _remove(unfinished)
        make(unfinished)
        unfinished.rename(made)
    return made


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _bootstrap(target: pathlib.Path, suite: str, variant: str,
               packages: cabc.Sequence[str]) -> None:
    print(f'== fetching {" ".join(packages)} of {suite}', flush=True)
    process.run([
        'mmdebstrap', '--quiet', '--mode=root', f'--variant={variant}',
        '--architectures=amd64', f'--keyring={KEYRING}',
        *(f'--dpkgopt=path-exclude={path}' for path in LEFT_OUT),
        f'--include={",".join(packages)}', suite, str(target),
        f'deb {_mirror()} {suite} main'], timeout=FETCH_TIMEOUT)


def _mirror() -> str:
    """Return where this machine has its own packages from."""
    found = process.run([
        'apt-get', 'indextargets', '--format', '$(REPO_URI)',
        'Origin: Debian', f'Codename: {ROOT_SUITE}', 'Component: main',
        'Created-By: Packages']).split()
    if not found:
        raise errors.LabError(f'apt has no sources of Debian {ROOT_SUITE}')
    return found[0]


def _fetch_kernel(target: pathlib.Path) -> None:
    downloads = place.make_dir(target.with_name('kernel.deb'))
    try:
        guest_build.download(downloads, KERNEL)
        (package,) = downloads.glob('*.deb')
        process.run(['dpkg', '-x', str(package), str(target)])
    finally:
        shutil.rmtree(downloads)
    (modules,) = (target / 'lib' / 'modules').iterdir()
    process.run(['depmod', '-b', str(target), modules.name])


def _make_root_disk(target: pathlib.Path) -> None:
    tree = target.with_name('root.tree')
    _remove(tree)
    _bootstrap(tree, ROOT_SUITE, 'minbase', ROOT_PACKAGES)
    _copy_modules(tree, ROOT_MODULES)
    process.run(['mke2fs', '-q', '-t', 'ext4', '-O', '^has_journal',
                 '-d', str(tree), str(target), ROOT_SIZE])
    shutil.rmtree(tree)


def _copy_modules(tree: pathlib.Path, names: cabc.Sequence[str]) -> None:
    """Copy modules with those that they need, and an index of them."""
    source = kernel()
    (modules,) = (source / 'lib' / 'modules').iterdir()
    needed = process.run(['modprobe', '-d', str(source), '-S', modules.name,
                          '--show-depends', '--all', *names])
    for line in needed.splitlines():
        word, _, path = line.partition(' ')
        if word == 'insmod':
            _copy(pathlib.Path(path.strip()), source, tree)
    for index in modules.glob('modules.builtin*'):
        _copy(index, source, tree)
    _copy(modules / 'modules.order', source, tree)
    process.run(['depmod', '-b', str(tree), modules.name])


def _copy(file: pathlib.Path, source: pathlib.Path,
          tree: pathlib.Path) -> None:
    copy = tree / file.relative_to(source)
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, copy)
