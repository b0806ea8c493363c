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

"""Do something inside a guest, through its agent."""

import base64
import json
import typing as ty

import libvirt_qemu

from tests.lab import errors
from tests.lab.guest import domain as guest_domain
from tests.lab import process

# Seconds for an answer, and for a program to end.
TIMEOUT = 30


def command(guest: guest_domain.Guest, name: str,
            **arguments: ty.Any) -> ty.Any:
    """Send one command to the agent and return its answer."""
    answer = libvirt_qemu.qemuAgentCommand(
        guest.domain, json.dumps({'execute': name, 'arguments': arguments}),
        TIMEOUT, 0)
    return json.loads(answer)['return']


def execute(guest: guest_domain.Guest, path: str, *arguments: str,
            stdin: bytes = b'') -> None:
    """Run a program in the guest to its end.

    :raises LabError: when it fails
    """
    pid = command(guest, 'guest-exec', path=path, arg=list(arguments),
                  **{'input-data': base64.b64encode(stdin).decode(),
                     'capture-output': True})['pid']
    status: dict[str, ty.Any] = {}

    def ended() -> bool:
        status.update(command(guest, 'guest-exec-status', pid=pid))
        return bool(status['exited'])

    process.wait_until(ended, timeout=TIMEOUT, what=f'end of {path}')
    if status.get('exitcode') != 0:
        raise errors.LabError(
            f'{path} in {guest.spec.name} ended with {status}')
