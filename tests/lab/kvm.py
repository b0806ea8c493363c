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

"""Whether an accelerator works, found out by running a guest on it."""

import os
import pathlib
import stat
import subprocess

from tests.lab.guest import build as guest_build

DEVICE = pathlib.Path('/dev/kvm')
QEMU = '/usr/bin/qemu-system-x86_64'

# The processor and the bytes of memory of the lab's guests.
CPU = 'qemu64'
MEMORY = '160M'

# What the guest's first program says, and by which it is done: the kernel
# panics when that program ends, and QEMU ends with it.
WORD = 'a program runs'
KERNEL_LINE = ('console=ttyS0 quiet panic=-1 rdinit=/bin/busybox '
               f'-- echo {WORD}')

# Seconds. QEMU's own emulation needs two on an idle machine.
TIMEOUT = 20


def accelerator_works(accelerator: str) -> bool:
    """Tell whether the lab's kernel reaches its first program.

    That /dev/kvm can be opened says little, and a loop in a boot sector no
    more: in a guest without nested virtualisation the first write to an MSR
    may fail, each instruction may leave the guest, or the kernel hangs as
    soon as it makes page tables of its own.

    :param accelerator: ``kvm`` or ``tcg``
    :raises LabError: when there is no kernel and none can be had
    """
    parts = guest_build.parts()
    argv = [QEMU, '-accel', accelerator, '-cpu', CPU, '-m', MEMORY,
            '-nodefaults', '-display', 'none', '-no-reboot',
            '-serial', 'stdio', '-kernel', str(parts.kernel),
            '-initrd', str(parts.initrd), '-append', KERNEL_LINE]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return False
    return WORD.encode() in done.stdout


def kvm_works() -> bool:
    """Tell whether KVM is there and runs a guest of root's."""
    return DEVICE.exists() and accelerator_works('kvm')


def make_device(path: pathlib.Path) -> None:
    """Make a twin of /dev/kvm that every user may open.

    :raises OSError: when the file system takes no devices
    """
    path.unlink(missing_ok=True)
    os.mknod(path, stat.S_IFCHR | 0o600, DEVICE.stat().st_rdev)
    # What mknod is given is cut by the umask.
    path.chmod(0o666)
