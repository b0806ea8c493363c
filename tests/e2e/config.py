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

"""What is written into each service's configuration."""

import collections.abc
import typing as ty

from tests.e2e import layout
from tests.lab import ceph as ceph_module
from tests.lab import cinder as cinder_module

Sections = dict[str, dict[str, ty.Any]]

REGION = 'RegionOne'

# [DEFAULT]host of nova-compute.
HOST = 'e2e'

# Seconds between two signs of life of a nova service: a restart is over
# when the first is seen.
REPORT_INTERVAL = 2

# Seconds after which the scheduler knows a new compute node.
DISCOVER_INTERVAL = 2

# The work factor of a stored password: these live too short to be guessed.
PASSWORD_ROUNDS = 4

# Where the clients of Ceph look, and the name of Glance's store there.
CEPH_CONF = '/etc/ceph/ceph.conf'
CEPH_STORE = 'ceph'
# Seconds for Glance to connect: without a bound it waits for ever.
CEPH_TIMEOUT = 20

# nova's policy.yaml. A disk of the image's own size, not of whole GiB, is
# for administrators alone by default; it makes a raw image a third as big.
NOVA_POLICY = """\
"os_compute_api:servers:create:zero_disk_flavor":
    "rule:project_member_or_admin"
"""

# Where every service logs: into the file that its starter opened.
LOG = {'debug': True, 'use_stderr': True}


def render(sections: Sections) -> str:
    """Write sections as oslo.config reads them."""
    lines = []
    for section, options in sections.items():
        lines.append(f'[{section}]')
        lines += [f'{name} = {value}' for name, value in options.items()]
    return '\n'.join(lines) + '\n'


def merge(sections: Sections,
          more: collections.abc.Mapping[str, ty.Mapping[str, ty.Any]]
          ) -> Sections:
    """Return sections with options added and replaced."""
    merged = {section: dict(options) for section, options in sections.items()}
    for section, options in more.items():
        merged.setdefault(section, {}).update(options)
    return merged


def keystone(where: layout.Layout) -> Sections:
    """Return keystone.conf."""
    folder = where.run_dir / 'keystone'
    return {
        'DEFAULT': LOG,
        'database': {'connection': where.database('keystone')},
        'token': {'provider': 'fernet'},
        'fernet_tokens': {'key_repository': folder / 'fernet'},
        'fernet_receipts': {'key_repository': folder / 'fernet'},
        'credential': {'key_repository': folder / 'credential'},
        'identity': {'password_hash_rounds': PASSWORD_ROUNDS},
        'cache': {'enabled': False},
    }


def glance(where: layout.Layout, *, in_ceph: bool = False) -> Sections:
    """Return glance-api.conf; see tests/lab/glance.py for the reasons.

    :param in_ceph: images are kept there; those that are files stay
    """
    folder = where.run_dir / 'glance'
    if in_ceph:
        return merge(glance(where), {
            'DEFAULT': {
                'enabled_backends': f'{CEPH_STORE}:rbd, file:file',
                # As Nova's own code wants it.
                'show_multiple_locations': True,
                'show_image_direct_url': True},
            'glance_store': {'default_backend': CEPH_STORE},
            CEPH_STORE: {
                'rbd_store_pool': ceph_module.IMAGES,
                'rbd_store_user': ceph_module.GLANCE,
                'rbd_store_ceph_conf': CEPH_CONF,
                'rados_connect_timeout': CEPH_TIMEOUT}})
    return {
        'DEFAULT': {
            **LOG,
            'enabled_backends': 'file:file',
            'node_staging_uri': f'file://{folder}/staging',
        },
        'glance_store': {'default_backend': 'file'},
        'file': {'filesystem_store_datadir': where.stored_images},
        'os_glance_staging_store': {
            'filesystem_store_datadir': folder / 'staging'},
        'os_glance_tasks_store': {
            'filesystem_store_datadir': folder / 'tasks'},
        'database': {'connection': f'sqlite:///{folder}/glance.sqlite'},
        'paste_deploy': {
            'flavor': 'keystone',
            'config_file': '/etc/glance/glance-api-paste.ini'},
        'oslo_concurrency': {'lock_path': folder / 'lock'},
        'oslo_messaging_notifications': {'driver': 'noop'},
        'keystone_authtoken': _middleware(where, 'glance', 'image'),
    }


def disks_in_ceph() -> Sections:
    """Return what nova.conf says where root disks lie in Ceph."""
    return {'libvirt': {
        **ceph_client()['libvirt'],
        'images_type': 'rbd',
        'images_rbd_pool': ceph_module.DISKS,
        'rbd_secret_uuid': cinder_module.SECRET_UUID}}


def ceph_client() -> Sections:
    """Return how nova.conf says that Ceph is reached."""
    return {'libvirt': {'images_rbd_ceph_conf': CEPH_CONF,
                        'rbd_user': ceph_module.CLIENT}}


def placement(where: layout.Layout) -> Sections:
    """Return placement.conf; its tables are made when it starts."""
    return {
        'DEFAULT': LOG,
        'placement_database': {'connection': where.database('placement'),
                               'sync_on_startup': True},
        'keystone_authtoken': _middleware(where, 'placement', 'placement'),
    }


def neutron(where: layout.Layout) -> Sections:
    """Return neutron.conf for a cloud without networks.

    Nova asks for the ports of a server that has none.
    """
    return {
        'DEFAULT': {
            **LOG,
            'core_plugin': 'ml2',
            'api_paste_config': '/etc/neutron/api-paste.ini',
            'state_path': where.run_dir / 'neutron',
            'transport_url': where.transport,
            'notify_nova_on_port_status_changes': False,
            'notify_nova_on_port_data_changes': False,
            'rpc_workers': 0,
            'rpc_state_report_workers': 0,
        },
        'database': {'connection': where.database('neutron')},
        'oslo_concurrency': {
            'lock_path': where.run_dir / 'neutron' / 'lock'},
        'keystone_authtoken': _middleware(where, 'neutron', 'network'),
    }


def ml2() -> Sections:
    """Return neutron's ml2_conf.ini: nothing is ever plugged."""
    return {'ml2': {'type_drivers': 'local', 'tenant_network_types': 'local',
                    'mechanism_drivers': ''}}


def nova(where: layout.Layout, *, driver: str, libvirt_uri: str,
         kvm: bool) -> Sections:
    """Return nova.conf, as all nova services read it."""
    state = where.run_dir / 'nova'
    return {
        'DEFAULT': {
            **LOG,
            'host': HOST,
            'my_ip': '127.0.0.1',
            'state_path': state,
            'transport_url': where.transport,
            'compute_driver': driver,
            'report_interval': REPORT_INTERVAL,
            # There is no other.
            'allow_resize_to_same_host': True,
            # The machine is not for guests alone, and they are small.
            'reserved_host_memory_mb': 0,
        },
        'api_database': {'connection': where.database('nova_api')},
        'database': {'connection': where.database('nova_cell1')},
        'oslo_concurrency': {'lock_path': state / 'lock'},
        'conductor': {'workers': 1},
        'scheduler': {'workers': 1, 'discover_hosts_in_cells_interval':
                      DISCOVER_INTERVAL},
        'vnc': {'enabled': False},
        'libvirt': {
            'connection_uri': libvirt_uri,
            'virt_type': 'kvm' if kvm else 'qemu',
            'cpu_mode': 'none',
            # Never look into a guest's disk.
            'inject_partition': -2,
        },
        'glance': {'region_name': REGION},
        'keystone_authtoken': _middleware(where, 'nova', 'compute'),
        'cinder': {**credentials(where, 'nova'), 'os_region_name': REGION},
        'placement': credentials(where, 'placement'),
        'neutron': credentials(where, 'neutron'),
        'service_user': {**credentials(where, 'nova'),
                         'send_service_user_token': True},
    }


def credentials(where: layout.Layout, user: str) -> dict[str, ty.Any]:
    """Return what a service signs in with, as keystoneauth1 loads it."""
    return {'auth_type': 'password',
            'auth_url': f'{where.url("keystone")}/v3',
            'project_domain_name': 'Default', 'user_domain_name': 'Default',
            'project_name': 'service', 'username': user,
            'password': where.password, 'region_name': REGION}


def _middleware(where: layout.Layout, user: str,
                service_type: str) -> dict[str, ty.Any]:
    return {**credentials(where, user),
            'www_authenticate_uri': f'{where.url("keystone")}/v3',
            'service_type': service_type,
            'service_token_roles': 'service',
            'service_token_roles_required': True}
