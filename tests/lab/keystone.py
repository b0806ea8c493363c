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

"""A real Keystone, for tests of who may do what in which project."""

import base64
import functools
import pathlib
import secrets
import shutil

import openstack
from openstack import connection

from tests.lab import place
from tests.lab import process
from tests.lab import wsgi

REGION = 'lab'
DOMAIN = 'default'

# The project of the services' own users.
SERVICE = 'service'

# Of a key of Fernet, which is written in base64.
# :source: https://github.com/fernet/spec
KEY_BYTES = 32

CONFIG = """\
[DEFAULT]
use_stderr = false
log_file = {folder}/keystone.log
[database]
connection = {database}
[token]
provider = fernet
[fernet_tokens]
key_repository = {folder}/fernet
[fernet_receipts]
key_repository = {folder}/fernet
[identity]
# The least that is allowed: these are no secrets.
password_hash_rounds = 4
[cache]
enabled = false
"""


class Keystone:
    """One Keystone, with all its state below ``run_dir``.

    :ivar auth_url: the address for a client
    """

    def __init__(self, run_dir: pathlib.Path, password: str) -> None:
        """Name the place; nothing is started yet.

        :param password: of every user
        """
        self.folder = run_dir / 'keystone'
        self.service = wsgi.Service(run_dir / 'services', 'keystone',
                                    'keystone.wsgi.api',
                                    place.cinder_python)
        self.auth_url = f'{self.service.url}/v3'
        self.password = password

    def start(self, database: str) -> None:
        """Make a new Keystone and start it; do not wait.

        :param database: the URL of an empty one
        :raises LabError: when its tables cannot be made
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        keys = place.make_dir(self.folder / 'fernet', 0o700)
        # The next one and the one in use; fernet_setup makes them likewise.
        for name in ('0', '1'):
            (keys / name).write_bytes(base64.urlsafe_b64encode(
                secrets.token_bytes(KEY_BYTES)))
        config = self.folder / 'keystone.conf'
        config.write_text(CONFIG.format(folder=self.folder,
                                        database=database))
        for words in (
                ('db_sync',),
                ('bootstrap', '--bootstrap-password', self.password,
                 '--bootstrap-region-id', REGION,
                 '--bootstrap-public-url', self.auth_url,
                 # Where other services look for it.
                 '--bootstrap-internal-url', self.auth_url)):
            process.run([
                str(place.cinder_python().with_name('keystone-manage')),
                '--config-file', str(config), *words])
        self.service.start(env={'OS_KEYSTONE_CONFIG_FILES': str(config)})

    def stop(self) -> None:
        """End it."""
        self.service.stop()

    @functools.cached_property
    def admin(self) -> connection.Connection:
        """What the administrator has signed in with."""
        return openstack.connect(
            load_yaml_config=False, load_envvars=False, region_name=REGION,
            **self.credentials('admin', 'admin'))

    def credentials(self, user: str, project: str) -> dict[str, str]:
        """Return what a client signs in with."""
        return {'auth_url': self.auth_url, 'username': user,
                'password': self.password, 'project_name': project,
                'user_domain_name': 'Default',
                'project_domain_name': 'Default'}

    def register(self, name: str, kind: str, url: str) -> None:
        """Put a service into the catalog."""
        identity = self.admin.identity
        service = identity.create_service(name=name, type=kind)
        identity.create_endpoint(service_id=service.id, interface='public',
                                 region_id=REGION, url=url)

    def grant(self, user: str, project: str, role: str) -> None:
        """Give a user a role in a project; made when missing, all three."""
        identity = self.admin.identity
        identity.assign_project_role_to_user(
            identity.find_project(project)
            or identity.create_project(name=project, domain_id=DOMAIN),
            identity.find_user(user) or identity.create_user(
                name=user, password=self.password, domain_id=DOMAIN),
            identity.find_role(role) or identity.create_role(name=role))
