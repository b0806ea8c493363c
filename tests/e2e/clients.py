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

"""The commands of a customer, and ours, which an operator has."""

import os
import subprocess

from tests.e2e import catalog
from tests.e2e import config
from tests.e2e import layout
from tests.lab import errors
from tests.lab import process

# Seconds.
COMMAND_TIMEOUT = 300


def run(where: layout.Layout, program: str, *arguments: str) -> str:
    """Run a command as the customer and return what it wrote to stdout.

    :param program: ``nova`` or ``openstack``
    :raises LabError: when it fails, with what it wrote to stderr
    """
    done = subprocess.run(
        [layout.program('control', program), *arguments],
        env={**os.environ, **_environment(where)}, capture_output=True,
        text=True, timeout=COMMAND_TIMEOUT, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise errors.LabError(f'{program} {" ".join(arguments)} failed '
                              f'({done.returncode}): {done.stderr.strip()}')
    return done.stdout


def nova_snap(*arguments: str) -> str:
    """Run our command on the node, with its nova.conf.

    :raises LabError: when it fails, with what it said
    """
    return process.run([layout.program('nova', 'nova-snap'), *arguments])


def _environment(where: layout.Layout) -> dict[str, str]:
    told = catalog.credentials(where, catalog.CUSTOMER)
    return {**{f'OS_{name.upper()}': value for name, value in told.items()},
            'OS_USER_DOMAIN_NAME': 'Default',
            'OS_PROJECT_DOMAIN_NAME': 'Default',
            'OS_REGION_NAME': config.REGION,
            'OS_IDENTITY_API_VERSION': '3',
            'OS_COMPUTE_API_VERSION': catalog.COMPUTE_MICROVERSION,
            'PYTHONWARNINGS': 'ignore'}
