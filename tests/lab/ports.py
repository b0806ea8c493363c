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

"""Ports of the loopback interface, which stay a service's own."""

import contextlib
import json
import pathlib
import socket

from tests.lab import place

# Seconds.
CONNECT_TIMEOUT = 1


def free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    """Tell whether a process listens at a port."""
    with contextlib.suppress(OSError), socket.create_connection(
            ('127.0.0.1', port), timeout=CONNECT_TIMEOUT):
        return True
    return False


def kept(folder: pathlib.Path, *names: str) -> dict[str, int]:
    """Return the ports that were chosen in a folder, or choose them.

    Every later call for this folder returns the same ports.
    """
    file = folder / 'ports'
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        found = {}
    if set(found) != set(names):
        found = {name: free_port() for name in names}
        place.make_dir(folder)
        file.write_text(json.dumps(found))
    return {name: int(found[name]) for name in names}
