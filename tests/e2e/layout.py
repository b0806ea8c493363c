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

"""Where one cloud keeps its state, at which ports and with which password."""

import dataclasses
import hashlib
import os
import pathlib
import secrets

from tests.lab import errors
from tests.lab import place

# Ports of the loopback interface. Below the range from which the kernel
# takes a client's port (net.ipv4.ip_local_port_range begins at 32768).
PORTS = {
    'mariadb': 27001,
    'rabbitmq': 27002,
    'rabbitmq-distribution': 27003,
    'epmd': 27004,
    'keystone': 27005,
    'glance': 27006,
    'placement': 27007,
    'nova': 27008,
    'neutron': 27009,
}

# Bytes of a password that cannot be guessed.
PASSWORD_BYTES = 16

# The database's own files, once all tables are made; see databases.py.
PRISTINE = 'pristine'


@dataclasses.dataclass(frozen=True)
class Layout:
    """One cloud's folder and what is written down in it.

    :ivar run_dir: absolute and short: sockets lie below it
    :ivar password: of every user of the cloud
    """

    run_dir: pathlib.Path
    password: str

    @classmethod
    def load(cls, run_dir: pathlib.Path) -> 'Layout':
        """Make the folder and choose a password, or find both again."""
        place.make_dir(run_dir)
        file = run_dir / 'password'
        if not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL,
                                 0o600)
            with open(descriptor, 'w') as out:
                out.write(secrets.token_hex(PASSWORD_BYTES))
        return cls(run_dir, file.read_text())

    @property
    def etc(self) -> pathlib.Path:
        """What the services see as /etc."""
        return self.run_dir / 'etc'

    @property
    def services(self) -> pathlib.Path:
        """Logs and pid files."""
        return self.run_dir / 'services'

    @property
    def instances(self) -> pathlib.Path:
        """Nova's ``instances_path``."""
        return self.run_dir / 'nova' / 'instances'

    @property
    def snapshots(self) -> pathlib.Path:
        """Nova's ``[libvirt]snapshots_directory``."""
        return self.instances / 'snapshots'

    @property
    def stored_images(self) -> pathlib.Path:
        """Glance's file store: a file for each image, named by its id."""
        return self.run_dir / 'glance' / 'images'

    def url(self, service: str) -> str:
        """Return where a service answers."""
        return f'http://127.0.0.1:{PORTS[service]}'

    def database(self, name: str) -> str:
        """Return a database's URL."""
        return (f'mysql+pymysql://e2e:{self.password}@127.0.0.1:'
                f'{PORTS["mariadb"]}/{name}?charset=utf8')

    @property
    def transport(self) -> str:
        """The message queue's URL."""
        return (f'rabbit://e2e:{self.password}@127.0.0.1:'
                f'{PORTS["rabbitmq"]}/')


def venv(name: str) -> pathlib.Path:
    """Name one of the virtual environments that tools/e2e makes.

    :param name: ``control`` for keystone, placement, neutron and the
        clients, ``nova``, or ``services`` for Glance and uWSGI
    :raises LabError: when it is not there
    """
    folder = place.lab_dir() / {
        'control': 'e2e-control', 'nova': 'e2e-nova',
        'services': 'services'}[name]
    if not (folder / 'stamp').exists():
        raise errors.LabError(f'{folder} is missing: run tools/e2e')
    return folder


def program(environment: str, name: str) -> str:
    """Name a program of a virtual environment."""
    return str(venv(environment) / 'bin' / name)


def stamp(where: Layout) -> str:
    """Name the state that these environments and this layout make."""
    digest = hashlib.sha256(
        '\0'.join((str(where), str(PORTS))).encode())
    for name in ('control', 'nova', 'services'):
        digest.update((venv(name) / 'stamp').read_bytes())
    return digest.hexdigest()[:16]
