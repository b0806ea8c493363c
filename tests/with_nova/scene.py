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

"""One compute node of Nova: Nova's own classes, over two fake wires.

nova-compute's manager, its libvirt driver (ours), its Host, Guest and image
API are the real ones, the database is Nova's on SQLite. Fake are libvirt
below the driver, Glance beyond HTTP, the network and placement.
"""

import pathlib
from unittest import mock

import fixtures
from keystoneauth1 import loading as ks_loading
from lxml import etree
from nova.compute import manager as compute_manager
from nova.compute import utils as compute_utils
import nova.conf
from nova import context as nova_context
from nova import exception
from nova.network import model as network_model
from nova import objects
from nova import test
from nova.tests import fixtures as nova_fixtures
from nova.virt import driver as virt_driver

from nova_snap import conf as conf_module
from nova_snap.driver import devices
from nova_snap.driver import interface
from nova_snap.journal import store as store_module
from tests.fakes import calls as fake_calls
from tests.fakes import export as fake_export
from tests.fakes.glance import server as glance_server
from tests.fakes import node as fake_node
from tests.fakes import qemu_img as fake_qemu_img
from tests.with_nova import wire

CONF = nova.conf.CONF

UUID = fake_node.UUID
BASE_IMAGE = fake_node.BASE_IMAGE
IMAGE = '11111111-1111-4111-8111-111111111111'
HOST = 'node-1'
USER = '6e4bc8939961407f83b1852b82e1f5e1'
PROJECT = 'c7e3e11fa81048d9865ef08026b4db9c'
# Seconds that something may take that is done at once; and another process.
PATIENCE_SECONDS = 20
PROCESS_SECONDS = 100
OUR_DRIVER = 'nova_snap.LibvirtDriver'
# Nova 26 has no exception of its own for it.
QUIESCE_FAILED = getattr(exception, 'InstanceQuiesceFailed',
                         exception.InstanceQuiesceNotSupported)
AGENT = {'image_hw_qemu_guest_agent': 'yes'}
NOVAS_TYPE = 'nova.virt.libvirt.utils.get_disk_type_from_path'
QUIESCE = {**AGENT, 'image_os_require_quiesce': 'yes'}


class FakeNovaQemuImg(devices.NovaQemuImg, fake_qemu_img.FakeQemuImg):
    """The driver's, which asks the fake where it asks the real one."""


class SceneTestCase(test.TestCase):
    """A test on one node with one instance, whose guest runs.

    :ivar fake: the node below libvirt's wire
    :ivar guest: the domain of the instance
    :ivar calls: what was said over libvirt's wire
    """

    spec = fake_node.GuestSpec(nova=True)
    system_metadata = AGENT

    def setUp(self):
        super().setUp()
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.make_guest(folder)
        self.glance = self.useFixture(glance_server.Glance())
        self.glance.add(IMAGE)
        self.configure(folder)
        self.useFixture(nova_fixtures.PrivsepFixture())
        # A busy machine takes its time; what is tested is not how fast it is.
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.driver.recovery.START_SECONDS', PATIENCE_SECONDS))
        self.notifier = self.useFixture(
            nova_fixtures.NotificationFixture(self))
        self.useFixture(nova_fixtures.SpawnIsSynchronousFixture())
        self.useFixture(fixtures.MockPatch(
            'nova.network.neutron.API.get_instance_nw_info',
            return_value=network_model.NetworkInfo()))
        self.context = nova_context.RequestContext(
            USER, PROJECT, auth_token='user-token', roles=['member'])
        self.instance = self.make_instance()
        # nova-api writes down what a user asked for.
        objects.InstanceAction.action_start(self.context, UUID, 'createImage')

    def make_guest(self, folder):
        """Make the node and start its guest; plug both into the wire."""
        self.fake = fake_node.FakeNode(folder, self.spec)
        self.guest = self.fake.guest
        self.guest.create()
        self.calls = fake_calls.Calls(
            before_each=self.fake.libvirtd.live_on)
        self.libvirt = wire.Libvirtd(self.fake.libvirtd, self.calls)
        facts = self.fake.libvirtd, self.calls, self.fake.block_devices
        qemu_img = FakeNovaQemuImg(*facts)
        for name, new in (
                ('libvirt.openAuth', self.libvirt.open_auth),
                *wire.NODE,
                ('nova_snap.driver.devices.NovaQemuImg',
                 lambda *limits: qemu_img),
                # What root calls.
                ('nova_snap.host.qemu_img.QemuImg',
                 lambda *limits: fake_qemu_img.FakeQemuImg(*facts)),
                ('nova_snap.steps.export.Exports',
                 lambda *_: fake_export.FakeExports(qemu_img, self.calls)),
                ('nova_snap.clock.Clock',
                 lambda: self.fake.clock)):
            self.useFixture(fixtures.MonkeyPatch(name, new))

    def put_on_lvm(self):
        """Put the root disk where Nova finds a logical volume."""
        for name in ('live', 'persistent'):
            tree = etree.fromstring(getattr(self.guest, name))
            disk = tree.find('./devices/disk')
            disk.set('type', 'block')
            source = disk.find('./source')
            source.set('dev', source.attrib.pop('file'))
            setattr(self.guest, name,
                    etree.tostring(tree, encoding='unicode'))
        self.fake.block_devices.add(self.fake.disks[0])
        self.useFixture(fixtures.MonkeyPatch(NOVAS_TYPE, lambda path: 'lvm'))

    def hear_turns(self):
        """Return a list of when turns at the disk begin and end."""
        held = []
        semaphore = mock.MagicMock()
        semaphore.__enter__.side_effect = lambda *_: held.append('begins')
        semaphore.__exit__.side_effect = lambda *_: held.append('ends')
        self.useFixture(fixtures.MockPatchObject(
            compute_utils, 'disk_ops_semaphore', semaphore))
        return held

    def configure(self, folder):
        """Write nova.conf."""
        conf_module.register_own(CONF)
        self.flags(state_path=str(folder), instances_path=str(folder),
                   host=HOST, compute_driver=OUR_DRIVER)
        self.flags(virt_type='qemu', group='libvirt')
        self.flags(journal_dir=str(folder / 'journal'), group='nova_snap')
        self.flags(api_servers=[self.glance.url], num_retries=1,
                   group='glance')

    def send_service_token(self):
        """Configure [service_user], without a Keystone."""
        CONF.register_opts(ks_loading.get_auth_plugin_conf_options(
            'admin_token'), group='service_user')
        self.flags(send_service_user_token=True, auth_type='admin_token',
                   token='service-token', endpoint=self.glance.url,
                   group='service_user')

    def make_instance(self, **values):
        """Make the instance's record in Nova's database."""
        instance = objects.Instance(
            nova_context.get_admin_context(), **{
                'uuid': UUID, 'host': HOST, 'node': HOST, 'compute_id': 1,
                'user_id': USER,
                'project_id': PROJECT, 'image_ref': BASE_IMAGE,
                'display_name': 'web', 'vm_state': 'active',
                'power_state': 1, 'memory_mb': 256, 'vcpus': 1,
                'root_gb': 1, 'ephemeral_gb': 0, 'os_type': 'linux',
                'kernel_id': '', 'ramdisk_id': '', 'metadata': {},
                'system_metadata': {
                    'image_base_image_ref': BASE_IMAGE,
                    'image_container_format': 'bare',
                    'image_disk_format': 'qcow2', **self.system_metadata},
                'flavor': make_flavor(), 'old_flavor': None,
                'new_flavor': None, 'numa_topology': None,
                'pci_requests': None, **values})
        instance.create()
        return objects.Instance.get_by_uuid(
            self.context, instance.uuid,
            expected_attrs=['metadata', 'system_metadata', 'flavor',
                            'info_cache', 'services'])

    # What a test does

    def start_manager(self, compute_driver=OUR_DRIVER):
        """Start nova-compute, as far as its manager."""
        manager = compute_manager.ComputeManager(
            compute_driver=compute_driver)
        self.addCleanup(self.stop_driver, manager.driver)
        return manager

    def start_driver(self):
        """Make our driver, as nova-compute loads it."""
        driver = virt_driver.load_compute_driver(mock.Mock(), OUR_DRIVER)
        self.addCleanup(self.stop_driver, driver)
        return driver

    def stop_driver(self, driver):
        if isinstance(driver, interface.LibvirtDriver):
            driver._recovery.stop()

    def snapshot(self, driver, callback=None):
        """Ask the driver for a snapshot, as nova-compute does."""
        driver.snapshot(self.context, self.instance, IMAGE,
                        callback or mock.Mock())

    def image_create(self, manager, image_id=IMAGE):
        """Let nova-compute do "openstack server image create"."""
        self.set_state('image_snapshot_pending')
        future = manager.snapshot_instance(self.context, image_id,
                                           self.instance)
        # In a thread of its own since Nova 33.
        if future is not None:
            future.result()

    def shelve(self, manager):
        """Let nova-compute do "openstack server shelve"."""
        self.flags(shelved_offload_time=-1)
        self.set_state('shelving')
        manager.shelve_instance(self.context, self.instance, IMAGE,
                                clean_shutdown=False, accel_uuids=[])

    def set_state(self, task_state):
        """Set the state that nova-api sets before it asks nova-compute."""
        self.instance.task_state = task_state
        self.instance.save()

    def read(self):
        """Read the instance's record."""
        return objects.Instance.get_by_uuid(
            nova_context.get_admin_context(), UUID)

    # What a test demands

    def assert_guest_whole(self, *, running=True):
        """Assert that the guest is as it was before."""
        self.assertTrue(self.guest.isPersistent(), 'undefined')
        self.assertEqual({}, self.guest.mirrors)
        self.assertFalse(self.guest.agent.frozen, 'frozen')
        self.assertIsNone(self.guest.saved, 'saved')
        self.assertEqual(running, bool(self.guest.isActive()))
        self.assertEqual([], list(self.fake.snapshots.iterdir()))

    def assert_settled(self):
        """Assert that no record is left in the journal."""
        self.assertEqual([], self.records())

    def records(self):
        """Name the records that are in the journal."""
        return store_module.Store(str(self.fake.folder / 'journal')).ids()


def make_flavor():
    """Make the flavor of the instance."""
    return objects.Flavor(
        id=1, name='small', memory_mb=256, vcpus=1, root_gb=1,
        ephemeral_gb=0, flavorid='1', swap=0, rxtx_factor=1.0,
        vcpu_weight=0, disabled=False, is_public=True, extra_specs={},
        description=None)
