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

"""The outer machine: an emulated IOMMU, a network card with SR-IOV, an NVMe.

Each device is behind a root port of its own and so in an IOMMU group of its
own. What a guest does with a device that is passed through to it is checked
by the emulated IOMMU: the kernel's VFIO in between is the real one.
"""

import contextlib
import pathlib
import shutil

from tests.lab import place
from tests.lab import process
from tests.vfio import build as vfio_build

# Of the outer machine, with all that runs in it.
MEMORY = '3G'
PROCESSORS = 2

# What the guest reads from the NVMe by DMA.
NVME_SERIAL = 'lab-nvme'
NVME_SIZE = 16 * 1024 ** 2

# For one that is ended in the middle of its work.
PATIENCE = 10.0

KERNEL_WORDS = ('console=ttyS0', 'quiet', 'loglevel=4', 'panic=-1',
                'intel_iommu=on', 'iommu=nopt', 'mitigations=off',
                'net.ifnames=0', 'tsc=reliable', 'cryptomgr.notests')


class Machine:
    """One outer machine, with all its state in ``run_dir``.

    :ivar logs: a folder that is ``/logs`` in it
    :ivar share: a folder that is ``/share`` in it, read only
    :ivar report: what the cases print
    :ivar shell: the socket of a shell in it
    """

    def __init__(self, run_dir: pathlib.Path) -> None:
        self.run_dir = run_dir
        self.logs = run_dir / 'logs'
        self.share = run_dir / 'share'
        self.report = run_dir / 'report'
        self.shell = run_dir / 'shell'
        self._daemon = process.Daemon('machine', run_dir)

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._daemon.pid is not None

    def boot(self, words: dict[str, str]) -> None:
        """Start it.

        :param words: for ``machine-init``
        """
        shutil.rmtree(self.logs, ignore_errors=True)
        place.make_dir(self.logs)
        self.report.unlink(missing_ok=True)
        nvme = self.run_dir / 'nvme.raw'
        with nvme.open('wb') as file:
            file.truncate(NVME_SIZE)
        qemu = vfio_build.qemu()
        append = [*KERNEL_WORDS, f'lab_venv={_venv()}',
                  *(f'lab_{word}={value}' for word, value in words.items())]
        self._daemon.start(
            [
                *_program(qemu),
                *self._own_devices(),
                *_passed_devices(nvme),
                '-kernel',
                str(vfio_build.vmlinuz()),
                '-initrd',
                str(vfio_build.initrd()),
                '-append',
                ' '.join(append),
            ],
            env={
                'QEMU_MODULE_DIR': str(qemu / 'usr/lib/x86_64-linux-gnu/qemu')
            },
        )

    def stop(self) -> None:
        """End it, as a power cut does; nothing where it does not run."""
        self._daemon.stop(patience=PATIENCE)

    def why(self) -> str:
        """Return the last words of QEMU and of the machine's console."""
        console = self.run_dir / 'console.log'
        tail = ''
        with contextlib.suppress(OSError):
            tail = console.read_text(errors='replace')[-process.LOG_TAIL:]
        return f'{self._daemon.log_tail()}\n{tail}'

    def _own_devices(self) -> list[str]:
        return [
            '-machine', 'q35', '-accel', 'tcg,thread=multi',
            '-cpu', 'max,la57=off', '-smp', str(PROCESSORS), '-m', MEMORY,
            '-nodefaults', '-display', 'none', '-no-reboot',
            '-device', 'intel-iommu,intremap=on',
            '-serial', f'file:{self.run_dir}/console.log',
            '-serial', f'file:{self.report}',
            '-device', 'virtio-serial-pci',
            '-chardev', f'socket,id=shell,path={self.shell},server=on,'
                        'wait=off',
            '-device', 'virtconsole,chardev=shell',
            # What is written to the root disk is gone with the machine.
            '-drive', f'file={vfio_build.root_disk()},format=raw,if=none,'
                      'id=root,snapshot=on,cache=unsafe',
            '-device', 'virtio-blk-pci,drive=root',
            '-netdev', 'user,id=own',
            '-device', 'virtio-net-pci,netdev=own,romfile=',
            '-device', 'virtio-rng-pci',
            *_folder('venv', _venv(), ',readonly=on'),
            *_folder('share', self.share, ',readonly=on'),
            *_folder('logs', self.logs)]


def _program(qemu: pathlib.Path) -> list[str]:
    """Run QEMU with the libraries that it was built for."""
    libraries = qemu / 'usr/lib/x86_64-linux-gnu'
    firmware = (qemu / 'usr/share/qemu', qemu / 'usr/share/seabios',
                qemu / 'usr/lib/ipxe/qemu')
    return [str(qemu / 'usr/lib64/ld-linux-x86-64.so.2'),
            '--library-path', str(libraries),
            str(qemu / 'usr/bin/qemu-system-x86_64'),
            *(word for path in firmware for word in ('-L', str(path)))]


def _passed_devices(nvme: pathlib.Path) -> list[str]:
    return [
        '-device', 'pcie-root-port,id=port1,slot=1,chassis=1',
        '-netdev', 'user,id=wire,restrict=on',
        '-device', 'igb,bus=port1,netdev=wire,mac=52:54:00:0a:00:01',
        '-device', 'pcie-root-port,id=port2,slot=2,chassis=2',
        '-drive', f'file={nvme},format=raw,if=none,id=nvme',
        '-device', f'nvme,bus=port2,serial={NVME_SERIAL},drive=nvme']


def _folder(tag: str, path: pathlib.Path, options: str = '') -> list[str]:
    return ['-virtfs', f'local,path={path},mount_tag={tag},'
                       f'security_model=none{options}']


def _venv() -> pathlib.Path:
    return place.lab_dir() / 'venv'
