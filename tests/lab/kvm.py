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

"""Whether an accelerator works, found out by running something on it."""

import os
import pathlib
import stat
import subprocess
import tempfile

DEVICE = pathlib.Path('/dev/kvm')
QEMU = '/usr/bin/qemu-system-x86_64'

# Rounds of a loop: a hundredth of a second for a processor, and longer than
# TIMEOUT for an accelerator that leaves the guest at every instruction, as one
# does that itself is in a guest without nested virtualisation.
ROUNDS = 20_000_000

# A boot sector: mov ecx,ROUNDS; loop (itself); mov al,16; out 0xf4,al; hlt.
# QEMU's isa-debug-exit device ends with (value << 1) | 1, which no failure of
# QEMU itself returns.
BOOT_CODE = (bytes((0x66, 0xb9)) + ROUNDS.to_bytes(4, 'little')
             + bytes((0x67, 0xe2, 0xfd, 0xb0, 0x10, 0xe6, 0xf4, 0xf4)))
BOOT_SECTOR = BOOT_CODE.ljust(510, b'\0') + b'\x55\xaa'
EXIT_STATUS = (0x10 << 1) | 1

# Seconds. The firmware needs one; a stuck accelerator never ends.
TIMEOUT = 10


def accelerator_works(accelerator: str) -> bool:
    """Tell whether a guest's own instructions run on an accelerator.

    That /dev/kvm can be opened says little: without working nested
    virtualisation the first write to an MSR fails, later, or the guest is a
    thousand times too slow.

    :param accelerator: ``kvm`` or ``tcg``
    """
    cpu = 'host' if accelerator == 'kvm' else 'qemu64'
    with tempfile.TemporaryDirectory() as folder:
        disk = pathlib.Path(folder, 'sector')
        disk.write_bytes(BOOT_SECTOR)
        argv = [QEMU, '-accel', accelerator, '-cpu', cpu, '-m', '16',
                '-nodefaults', '-display', 'none', '-no-reboot',
                '-drive', f'if=ide,format=raw,file={disk}',
                '-device', 'isa-debug-exit,iobase=0xf4,iosize=4']
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == EXIT_STATUS


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
