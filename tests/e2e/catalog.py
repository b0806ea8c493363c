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

"""What a new cloud gets: its services, its users, a flavor, an image."""

import openstack
from openstack import connection
from openstack.image.v2 import image as image_type

from nova_snap import units
from tests.e2e import config
from tests.e2e import layout
from tests.lab.guest import build as guest_build
from tests.lab.guest import domain as guest_domain

# Each with its type and the path below its URL.
SERVICES = {
    'glance': ('image', ''),
    'placement': ('placement', ''),
    'nova': ('compute', '/v2.1'),
    'neutron': ('network', ''),
}

# The customer: member of a project, nothing more.
CUSTOMER = 'customer'

FLAVOR = 'e2e'
# With a disk of its own size, in GiB.
LARGER, LARGER_DISK = 'e2e-larger', 1
IMAGE = 'e2e-root'
# The same in Ceph, where Glance keeps its images there, with an agent.
CEPH_IMAGE = 'e2e-ceph-root'
# For a guest with an agent and a second disk.
VOLUME_IMAGE = 'e2e-volume'
# The word by which it writes to both; see tests/lab/guest/init.
SECOND_DISK = 'lab.second'
# Members of the image's kernel and ramdisk.
KERNEL, RAMDISK = 'e2e-kernel', 'e2e-ramdisk'

# The API that nova's newest clients speak, of all supported releases.
COMPUTE_MICROVERSION = '2.90'


def connect(where: layout.Layout, user: str) -> connection.Connection:
    """Sign in.

    :param user: ``admin`` or CUSTOMER; the project has the same name
    """
    return openstack.connect(
        load_yaml_config=False, load_envvars=False, **credentials(where, user),
        region_name=config.REGION, user_domain_name='Default',
        project_domain_name='Default',
        compute_default_microversion=COMPUTE_MICROVERSION)


def credentials(where: layout.Layout, user: str) -> dict[str, str]:
    """Return what a client signs in with."""
    return {'auth_url': f'{where.url("keystone")}/v3', 'username': user,
            'password': where.password, 'project_name': user}


def fill_identity(where: layout.Layout) -> None:
    """Tell keystone of the services, their users and the customer."""
    cloud = connect(where, 'admin')
    identity = cloud.identity
    for name, (kind, path) in SERVICES.items():
        register(cloud, name, kind, where.url(name) + path)
    if identity.find_role('service') is None:
        identity.create_role(name='service')
    for name in SERVICES:
        make_user(cloud, where, name, 'service', ('admin', 'service'))
    make_user(cloud, where, CUSTOMER, CUSTOMER, ('member',))
    # So that nova-snap may act in the customer's project with the
    # credentials of the service.
    make_user(cloud, where, 'nova', CUSTOMER, ('member',))


def register(cloud: connection.Connection, name: str, kind: str,
             url: str) -> None:
    """Put a service into the catalog."""
    service = cloud.identity.create_service(name=name, type=kind)
    cloud.identity.create_endpoint(
        service_id=service.id, interface='public',
        region_id=config.REGION, url=url)


def make_user(cloud: connection.Connection, where: layout.Layout, name: str,
              project_name: str, role_names: tuple[str, ...]) -> None:
    """Give a user roles in a project; both are made when missing."""
    identity = cloud.identity
    project = identity.find_project(project_name) or \
        identity.create_project(name=project_name, domain_id='default')
    user = identity.find_user(name) or identity.create_user(
        name=name, password=where.password, domain_id='default')
    for role in role_names:
        identity.assign_project_role_to_user(project, user,
                                             identity.find_role(role))


def make_flavors(cloud: connection.Connection) -> None:
    """Make them as small as the guest; the disk of one is the image's."""
    for name, disk in ((FLAVOR, 0), (LARGER, LARGER_DISK)):
        cloud.compute.create_flavor(
            name=name, vcpus=1, disk=disk,
            ram=guest_domain.MEMORY // units.MiB)


def make_image(cloud: connection.Connection) -> None:
    """Upload the guest's kernel, ramdisk and root disk."""
    parts = guest_build.parts()
    kernel = _upload(cloud, KERNEL, 'aki', str(parts.kernel))
    ramdisk = _upload(cloud, RAMDISK, 'ari', str(parts.initrd))
    made = {'kernel_id': kernel.id, 'ramdisk_id': ramdisk.id}
    _upload(cloud, IMAGE, 'raw', str(parts.root_disk), **made,
            os_command_line=' '.join(guest_domain.KERNEL_WORDS))
    _upload(cloud, VOLUME_IMAGE, 'raw', str(parts.root_disk), **made,
            hw_qemu_guest_agent='yes', os_command_line=' '.join(
                (*guest_domain.KERNEL_WORDS, SECOND_DISK)))


def make_image_in_ceph(cloud: connection.Connection) -> None:
    """Upload the guest's root disk once more, to Glance's default store."""
    kernel, ramdisk = (cloud.image.find_image(name)
                       for name in (KERNEL, RAMDISK))
    _upload(cloud, CEPH_IMAGE, 'raw', str(guest_build.parts().root_disk),
            kernel_id=kernel.id, ramdisk_id=ramdisk.id,
            hw_qemu_guest_agent='yes',
            os_command_line=' '.join(guest_domain.KERNEL_WORDS))


def _upload(cloud: connection.Connection, name: str, kind: str, path: str,
            **properties: str) -> image_type.Image:
    return cloud.image.create_image(
        name, filename=path, visibility='public', wait=True,
        disk_format=kind, validate_checksum=False, use_import=False,
        container_format=kind if kind in ('aki', 'ari') else 'bare',
        **properties)
