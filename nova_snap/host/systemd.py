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

"""What systemd grants the unit that we, or a nova-compute, run in."""

import pathlib
import re
import subprocess

from nova_snap.host import processes

CGROUP = pathlib.Path('/proc/self/cgroup')

# What nova-compute keeps for its own end after it was told to stop.
# :source: nova/compute/manager.py graceful_shutdown (cleanup_reserved_time)
STOP_SECONDS = 20
# What Nova needs of systemd's limit before and after that. Debian's unit has
# 15 s in all.
OTHERS_SECONDS = 5

# What runs nova-compute: the packages of Debian and Ubuntu, those of RDO,
# openstack-ansible, DevStack.
UNITS = ('nova-compute.service', 'openstack-nova-compute.service',
         'devstack@n-cpu.service')

# It answers in milliseconds, unless it is being replaced.
TIMEOUT_SECONDS = 5

# :source: systemd.time(7); format_timespan in src/basic/time-util.c
SECONDS_OF_UNIT = {
    'us': 1e-6, 'ms': 1e-3, 's': 1.0, 'min': 60.0, 'h': 3600.0,
    'd': 86400.0, 'w': 604800.0, 'month': 2629800.0, 'y': 31557600.0}
PART = re.compile(r'([0-9]+(?:\.[0-9]+)?)([a-z]+)')


def stop_limit() -> float | None:
    """Return after how many seconds systemd kills our service that stops.

    :returns: None where it never does, where we are no service of systemd,
        and where systemd does not answer
    :source: systemd.service(5), TimeoutStopSec=
    """
    unit = _unit(CGROUP)
    return None if unit is None else stop_limit_of(unit)


def stop_limit_of(unit: str) -> float | None:
    """Return after how many seconds systemd kills a service that stops.

    :returns: None where it never does, and where it does not answer
    """
    return _seconds(_show('TimeoutStopUSec', unit))


def unit_of_nova_compute() -> str | None:
    """Return the service that runs nova-compute here, or would run it.

    :returns: None where there is none, as in a container
    """
    for one in processes.nova_computes():
        unit = _unit(processes.PROC / str(one.pid) / 'cgroup')
        if unit is not None and not one.is_in_container:
            return unit
    return next((unit for unit in UNITS
                 if _show('LoadState', unit) == 'loaded'), None)


def _show(what: str, unit: str) -> str:
    """Return a property of a unit; '' where systemd does not answer."""
    try:
        return subprocess.run(
            ['systemctl', 'show', f'--property={what}', '--value', unit],
            check=True, text=True, timeout=TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ''


def _unit(cgroup: pathlib.Path) -> str | None:
    """Return the service whose control group a process is in."""
    try:
        lines = cgroup.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        names = [name for name in line.split('/')
                 if name.endswith('.service')]
        if names:
            return names[-1]
    return None


def _seconds(said: str) -> float | None:
    """Read a time span as systemctl prints it: ``1min 30s``."""
    parts = [PART.fullmatch(word) for word in said.split()]
    total = 0.0
    for part in parts:
        if part is None or part[2] not in SECONDS_OF_UNIT:
            return None
        total += float(part[1]) * SECONDS_OF_UNIT[part[2]]
    return total if parts else None
