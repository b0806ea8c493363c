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

import dataclasses
import os

import ddt
import fixtures
from oslo_config import cfg
from oslotest import base

from nova_snap import conf as conf_module
from nova_snap.conf import nova_snap as own
from nova_snap import errors
from nova_snap.model import settings as settings_model
from nova_snap import units


class ConfTestCase(base.BaseTestCase):
    """A test with a nova.conf of its own."""

    def parse(self, text='', *arguments):
        """Read a file as the command does.

        :param text: what nova.conf says below a usable state_path
        """
        path = self.useFixture(fixtures.TempDir()).join('nova.conf')
        with open(path, 'w') as stream:
            stream.write('[DEFAULT]\nstate_path = /var/lib/nova\n' + text)
        conf = cfg.ConfigOpts()
        conf_module.register_opts(conf)
        conf(list(arguments), project='nova', default_config_files=[path],
             default_config_dirs=[])
        return conf


@ddt.ddt
class DefaultsTestCase(ConfTestCase):

    def test_they_are_those_of_nova_and_ours(self):
        self.assertEqual(
            settings_model.Settings(
                host='node-1',
                state_path='/var/lib/nova',
                instances_path='/var/lib/nova/instances',
                image_cache='/var/lib/nova/instances/_base',
                compute_driver=None,
                virt_type='kvm',
                connection_uri='qemu:///system',
                snapshots_directory='/var/lib/nova/instances/snapshots',
                snapshots_directory_is_default=True,
                snapshot_image_format=None,
                snapshot_compression=False,
                images_cpu_time_limit=30,
                images_address_space_limit=2 * units.GiB,
                rbd_user='',
                images_rbd_ceph_conf='',
                rbd_connect_timeout=5, images_rbd_glance_store_name='',
                rbd_glance_pool=None, location_hash='auto',
                rbd_flatten='auto',
                disable_libvirt_livesnapshot=False,
                ephemeral_storage_encryption=False,
                non_inheritable_image_properties=frozenset(
                    ('cache_in_nova', 'bittorrent')),
                glance_num_retries=3,
                cinder_http_retries=3,
                journal_dir='/var/lib/nova/nova_snap',
                live_method='rebase',
                upload='file',
                deliver='glance',
                incremental='none',
                compression_type='zlib',
                ready_timeout=3 * 60 * 60,
                stall_timeout=2 * 60,
                freeze_timeout=60,
                quiesce_limit=120,
                volume_snapshot_timeout=5 * 60,
                detach_timeout=60,
                save_timeout=30 * 60,
                lock_timeout=5,
                bandwidth=0,
                verify_upload=True,
                space_reserve=units.GiB),
            conf_module.settings(self.parse('host = node-1\n')))

    def test_each_option_of_ours_is_a_field(self):
        fields = {
            field.name for field in dataclasses.fields(settings_model.Settings)
        }
        self.assertEqual(set(),
                         {opt.dest for opt in own.SNAPSHOT_OPTS} - fields)

    @ddt.data(
        ('kvm', 'qemu:///system'),
        ('qemu', 'qemu:///system'),
        ('lxc', 'lxc:///'),
        ('parallels', 'parallels:///system'),
    )
    @ddt.unpack
    def test_the_kind_of_guests_says_where_libvirt_is(self, kind, uri):
        found = conf_module.settings(
            self.parse(f'[libvirt]\nvirt_type = {kind}\n'))
        self.assertEqual(uri, found.connection_uri)


@ddt.ddt
class ValuesTestCase(ConfTestCase):

    @ddt.data(
        ('a path follows the state_path', 'state_path = /srv\n',
         'journal_dir', '/srv/nova_snap'),
        ('a path may name another option',
         '[nova_snap]\njournal_dir = $instances_path/j\n',
         'journal_dir', '/var/lib/nova/instances/j'),
        ('a URI goes before the default of the kind',
         '[libvirt]\nvirt_type = qemu\nconnection_uri = qemu:///session\n',
         'connection_uri', 'qemu:///session'),
        ('the user of Ceph',
         '[libvirt]\nrbd_user = cinder\n', 'rbd_user', 'cinder'),
        ('its ceph.conf',
         '[libvirt]\nimages_rbd_ceph_conf = /etc/ceph/two.conf\n',
         'images_rbd_ceph_conf', '/etc/ceph/two.conf'),
        ('memory is counted in bytes',
         '[libvirt]\nimages_address_space_limit = 3\n',
         'images_address_space_limit', 3 * units.GiB),
        ('a list is a set', 'non_inheritable_image_properties = a, b,a\n',
         'non_inheritable_image_properties', frozenset('ab')),
        ('an empty list is an empty set',
         'non_inheritable_image_properties =\n',
         'non_inheritable_image_properties', frozenset()),
        ('no retry', '[glance]\nnum_retries = 0\n', 'glance_num_retries', 0),
        ('the encryption of local disks',
         '[ephemeral_storage_encryption]\nenabled = true\n',
         'ephemeral_storage_encryption', True),
        ('the cache of images of this host',
         'my_ip = 192.0.2.7\n[image_cache]\nsubdirectory_name = b_$my_ip\n',
         'image_cache', '/var/lib/nova/instances/b_192.0.2.7'),
        ('the cache of images, as it was called once',
         'image_cache_subdirectory_name = old\n',
         'image_cache', '/var/lib/nova/instances/old'),
        ('the workaround',
         '[workarounds]\ndisable_libvirt_livesnapshot = true\n',
         'disable_libvirt_livesnapshot', True),
        ('a format', '[libvirt]\nsnapshot_image_format = vdi\n',
         'snapshot_image_format', 'vdi'),
        ('a method', '[nova_snap]\nlive_method = copy\n',
         'live_method', 'copy'),
        ('no flat image', '[nova_snap]\nupload = stream\n',
         'upload', 'stream'),
    )
    @ddt.unpack
    def test_what_the_file_says_arrives(self, _name, text, field, value):
        found = conf_module.settings(self.parse(text))
        self.assertEqual(value, getattr(found, field))

    @ddt.data(
        ('not set', '', True),
        ('set to another directory',
         '[libvirt]\nsnapshots_directory = /srv\n', False),
        ('set to what the default is',
         '[libvirt]\nsnapshots_directory = $instances_path/snapshots\n',
         False),
    )
    @ddt.unpack
    def test_only_a_directory_without_a_name_is_the_default(
            self, _name, text, is_default):
        found = conf_module.settings(self.parse(text))
        self.assertEqual(is_default, found.snapshots_directory_is_default)

    def test_a_default_set_by_a_program_is_a_default(self):
        conf = self.parse()
        conf.set_default('snapshots_directory', '/srv', group='libvirt')
        found = conf_module.settings(conf)
        self.assertEqual(('/srv', True),
                         (found.snapshots_directory,
                          found.snapshots_directory_is_default))


@ddt.ddt
class BadValueTestCase(ConfTestCase):

    @ddt.data(
        ('a kind of guest that libvirt has and Nova has not',
         '[libvirt]\nvirt_type = xen\n', '[libvirt]virt_type'),
        ('a format that Glance has not',
         '[libvirt]\nsnapshot_image_format = qcow3\n',
         '[libvirt]snapshot_image_format'),
        ('something that is neither true nor false',
         '[libvirt]\nsnapshot_compression = maybe\n',
         '[libvirt]snapshot_compression'),
        ('a number that is none',
         '[libvirt]\nimages_cpu_time_limit = soon\n',
         '[libvirt]images_cpu_time_limit'),
        ('no time to look at an image',
         '[libvirt]\nimages_cpu_time_limit = 0\n',
         '[libvirt]images_cpu_time_limit'),
        ('no memory to look at an image',
         '[libvirt]\nimages_address_space_limit = -1\n',
         '[libvirt]images_address_space_limit'),
        ('the workaround',
         '[workarounds]\ndisable_libvirt_livesnapshot = 2\n',
         '[workarounds]disable_libvirt_livesnapshot'),
        ('the encryption',
         '[ephemeral_storage_encryption]\nenabled = luks\n',
         '[ephemeral_storage_encryption]enabled'),
        ('less than no retries', '[glance]\nnum_retries = -1\n',
         '[glance]num_retries'),
        ('a timeout of Glance that is none', '[glance]\ntimeout = long\n',
         '[glance]timeout'),
        ('a switch of the service user',
         '[service_user]\nsend_service_user_token = perhaps\n',
         '[service_user]send_service_user_token'),
        ('a method that is none',
         '[nova_snap]\nlive_method = fast\n', '[nova_snap]live_method'),
        ('no time to get ready', '[nova_snap]\nready_timeout = 0\n',
         '[nova_snap]ready_timeout'),
        ('no time to stand still', '[nova_snap]\nstall_timeout = 0\n',
         '[nova_snap]stall_timeout'),
        ('no time to freeze', '[nova_snap]\nfreeze_timeout = 0\n',
         '[nova_snap]freeze_timeout'),
        ('no time to release a device', '[nova_snap]\ndetach_timeout = 0\n',
         '[nova_snap]detach_timeout'),
        ('no time to save', '[nova_snap]\nsave_timeout = 0\n',
         '[nova_snap]save_timeout'),
        ('a negative time for the lock',
         '[nova_snap]\nlock_timeout = -1\n', '[nova_snap]lock_timeout'),
        ('a bandwidth with a unit', '[nova_snap]\nbandwidth = 10M\n',
         '[nova_snap]bandwidth'),
        ('a session of ours', '[nova_snap]\ninsecure = 7\n',
         '[nova_snap]insecure'),
        ('a name of this host with a slash', 'host = a/b\n',
         '[DEFAULT]host'),
        ('an option that refers to one that is not there',
         '[nova_snap]\njournal_dir = $statepath/x\n',
         '[nova_snap]journal_dir'),
        ('a state_path that is not a full path', 'state_path = nova\n',
         '[DEFAULT]state_path'),
        ('an instances_path that is not a full path',
         'instances_path = instances\n', '[DEFAULT]instances_path'),
        ('a snapshots_directory that is not a full path',
         '[libvirt]\nsnapshots_directory = ./x\n',
         '[libvirt]snapshots_directory'),
        ('an empty journal_dir', '[nova_snap]\njournal_dir =\n',
         '[nova_snap]journal_dir'),
    )
    @ddt.unpack
    def test_it_dies_at_start_with_its_name(self, _name, text, option):
        conf = self.parse(text)

        error = self.assertRaises(errors.ConfigError,
                                  conf_module.settings, conf)

        self.assertEqual(option, error.option)
        self.assertIn(option, str(error))

    def test_the_journal_does_not_come_into_the_package(self):
        # What Nova's own default of state_path leads to.
        package = os.path.dirname(conf_module.paths.__file__)
        root = os.path.abspath(os.path.join(package, '..', '..'))
        error = self.assertRaises(
            errors.ConfigError, conf_module.settings,
            self.parse(f'state_path = {root}\n'))
        self.assertEqual('[DEFAULT]state_path', error.option)
        self.assertIn('nova.conf', str(error))
        self.assertNotIn(root, str(error))


class RegisterTestCase(base.BaseTestCase):

    def test_beside_nova_only_our_group_is_registered(self):
        conf = cfg.ConfigOpts()
        # What Nova has, and with another help: to register an option twice
        # is an error when the two differ.
        conf.register_opt(cfg.StrOpt('virt_type', help='Nova\'s'),
                          group='libvirt')

        conf_module.register_own(conf)

        conf([], default_config_files=[], default_config_dirs=[])
        self.assertEqual('rebase', conf.nova_snap.live_method)
        self.assertNotIn('state_path', conf)
        self.assertEqual(['virt_type'], list(conf.libvirt))

    def test_beside_an_earlier_nova_what_it_lacks_is_registered(self):
        conf = cfg.ConfigOpts()
        conf.register_opt(cfg.StrOpt('virt_type', default='nova\'s own'),
                          group='libvirt')

        conf_module.register_beside_nova(conf)

        conf([], default_config_files=[], default_config_dirs=[])
        self.assertEqual('nova\'s own', conf.libvirt.virt_type)
        self.assertEqual(30, conf.libvirt.images_cpu_time_limit)

    def test_to_register_twice_is_harmless(self):
        conf = cfg.ConfigOpts()
        conf_module.register_opts(conf)
        conf_module.register_opts(conf)
