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

"""What systemd grants the unit that we run in."""

import pathlib
import re
import subprocess

CGROUP = pathlib.Path('/proc/self/cgroup')

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
    unit = _unit()
    if unit is None:
        return None
    try:
        said = subprocess.run(
            ['systemctl', 'show', '--property=TimeoutStopUSec', '--value',
             unit],
            check=True, text=True, timeout=TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return _seconds(said.strip())


def _unit() -> str | None:
    """Return the service whose control group we are in."""
    try:
        lines = CGROUP.read_text().splitlines()
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
