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

"""Debian packages that are installed where they are missing; as root."""

import collections.abc as cabc
import contextlib
import pathlib
import shutil
import subprocess
import time

from tests.lab import errors
from tests.lab import place
from tests.stages import lock
from tests.stages import processes

# What pip needs to build libvirt-python and uWSGI.
BUILD = ('gcc', 'libc6-dev', 'libvirt-dev', 'pkg-config', 'python3-dev',
         'python3-venv')
# What the driver calls by itself.
QEMU_IMG = ('qemu-utils',)
# Hypervisor and its tools; what the guest is made with.
HYPERVISOR = (*QEMU_IMG, 'qemu-system-x86', 'libvirt-daemon-system',
              'libvirt-clients', 'mount', 'cpio', 'e2fsprogs', 'xfsprogs',
              'kmod',
              # The TPM of a guest, and what makes its state.
              'swtpm', 'swtpm-tools',
              # Serves disks that are slow, or fail.
              'nbdkit')
# A Ceph, QEMU's way to it, and its bindings.
CEPH = ('ceph-mon', 'ceph-mgr', 'ceph-osd', 'ceph-common', 'qemu-block-extra',
        'python3-rados', 'python3-rbd')
# What Cinder needs: that, its message queue and its database.
VOLUMES = (*CEPH, 'mariadb-server', 'rabbitmq-server')

# Seconds to wait for another apt or dpkg to finish.
LOCK_TIMEOUT = 600
# Seconds between two looks whether it has.
POLL = 2
# Seconds for all of an installation.
INSTALL_TIMEOUT = 1800

# A package starts its services where this does not forbid it.
POLICY = pathlib.Path('/usr/sbin/policy-rc.d')
# What it ends with for "no".
FORBIDDEN = 101

# Lines of apt's log that are shown when it fails.
TAIL = 20


def missing(names: cabc.Iterable[str]) -> list[str]:
    """Name the packages that are not installed.

    :raises LabError: on a system without Debian's packages
    """
    if shutil.which('dpkg-query') is None:
        raise errors.LabError('there is no dpkg here: this is for Debian 12')
    return [name for name in names if subprocess.run(
        ['dpkg-query', '-W', '-f', '${db:Status-Status}', name],
        capture_output=True, text=True).stdout != 'installed']


def install(names: cabc.Iterable[str],
            runner: processes.Processes) -> None:
    """Install those that are missing.

    :raises LabError: when apt cannot; its log says why
    """
    folder = place.lab_dir()
    with lock.held(folder / 'packages.lock', patience=LOCK_TIMEOUT):
        wanted = missing(names)
        if not wanted:
            return
        processes.say(f'installing {" ".join(wanted)}')
        log = folder / 'packages.log'
        log.unlink(missing_ok=True)
        _update(log, runner)
        with _no_service_starts():
            status = runner.run(
                ['apt-get', '-q', '-y',
                 '-o', f'DPkg::Lock::Timeout={LOCK_TIMEOUT}',
                 '-o', 'Dpkg::Use-Pty=0', 'install',
                 '--no-install-recommends', *wanted],
                # Interrupted, it would leave packages half configured.
                log, limit=INSTALL_TIMEOUT, to_its_end=True,
                env={'DEBIAN_FRONTEND': 'noninteractive'})
        if status:
            raise _failed('apt-get install', log)


def _update(log: pathlib.Path, runner: processes.Processes) -> None:
    """Fetch the lists of packages.

    apt-get waits for dpkg's lock by itself, for that of the lists it does
    not.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    while runner.run(['apt-get', '-q', 'update'], log, limit=LOCK_TIMEOUT):
        if ('Could not get lock' not in processes.tail(log, TAIL)
                or time.monotonic() > deadline):
            raise _failed('apt-get update', log)
        time.sleep(POLL)


@contextlib.contextmanager
def _no_service_starts() -> cabc.Iterator[None]:
    if POLICY.exists():
        yield
        return
    try:
        POLICY.write_text(f'#!/bin/sh\nexit {FORBIDDEN}\n')
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def _failed(what: str, log: pathlib.Path) -> errors.LabError:
    return errors.LabError(
        f'{what} failed: see {log}\n{processes.tail(log, TAIL)}')
