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

import argparse
import os
import pathlib
import stat

import fixtures
from oslotest import base

from nova_snap.cmd import configuration as configuration_module
from nova_snap.cmd import runtime as runtime_module
from nova_snap.conf import files as conf_files
from nova_snap import errors
from nova_snap.services.glance import images as images_module
from nova_snap.services import signed_out

# A way to sign in that asks no Keystone.
SIGNED_IN = """
[nova_snap]
auth_type = none
[glance]
endpoint_override = http://127.0.0.1:9
"""


class RuntimeTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.state_path = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        for name in list(os.environ):
            if name.startswith('OS_'):
                self.useFixture(fixtures.EnvironmentVariable(name))
        self.useFixture(fixtures.MonkeyPatch('os.geteuid', lambda: 0))

    def read(self, text=''):
        path = self.state_path / 'nova.conf'
        path.write_text(
            f'[DEFAULT]\nstate_path = {self.state_path}\n{text}')
        return configuration_module.read(
            argparse.Namespace(
                config=[conf_files.Named(conf_files.FILE, str(path))]))

    def make(self, text=''):
        return runtime_module.Runtime(self.read(text), lambda *said: None)

    def test_who_only_looks_makes_nothing(self):
        node = self.make().node(signed_in=False)
        self.assertEqual([], node.store.ids())
        self.assertEqual(['nova.conf'], os.listdir(self.state_path))

    def test_the_journal_is_made_private(self):
        store = self.make().node(signed_in=False).store
        self.useFixture(fixtures.MonkeyPatch('os.geteuid', os.getuid))
        store.prepare()
        folder = self.state_path / 'nova_snap'
        self.assertEqual(0o700, stat.S_IMODE(folder.stat().st_mode))

    def test_it_belongs_to_whom_the_state_belongs(self):
        if os.getuid() != 0:
            self.skipTest('only root writes as others')
        os.chown(self.state_path, 4242, 4343)
        self.make().node(signed_in=False).store.prepare()
        figures = (self.state_path / 'nova_snap' / 'records').stat()
        self.assertEqual((4242, 4343), (figures.st_uid, figures.st_gid))

    def test_a_journal_on_a_network_file_system_is_refused(self):
        table = self.state_path / 'mountinfo'
        table.write_text('36 35 98:0 / / rw - nfs4 server:/x rw\n')
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.file_systems.MOUNTS', table))
        self.assertRaises(errors.JournalError, self.make().node,
                          signed_in=False)
        self.assertFalse((self.state_path / 'nova_snap').exists())

    def test_who_must_be_signed_in_is_refused_without_credentials(self):
        self.assertRaises(errors.ConfigError, self.make().node,
                          signed_in=True)

    def test_who_need_not_be_is_not(self):
        node = self.make().node(signed_in=False)
        self.assertIsInstance(node.world.images, signed_out.SignedOut)
        self.assertRaises(errors.ConfigError, node.world.images.check)

    def test_credentials_are_used_where_they_are(self):
        node = self.make(SIGNED_IN).node(signed_in=True)
        self.assertIs(images_module.Images, type(node.world.images))

    def test_settings_are_handed_down(self):
        made = self.make('host = node-7\n')
        node = made.node(signed_in=False)
        self.assertEqual('node-7', node.world.settings.host)
        self.assertIs(made.settings, node.world.settings)

    def test_a_bad_option_is_found_before_anything_is_made(self):
        conf = self.read('[nova_snap]\nbandwidth = much\n')
        error = self.assertRaises(
            errors.ConfigError,
            runtime_module.Runtime,
            conf,
            lambda *said: None,
        )
        self.assertEqual('[nova_snap]bandwidth', error.option)
        self.assertEqual(['nova.conf'], os.listdir(self.state_path))

    def test_a_config_file_that_is_missing_is_named(self):
        path = str(self.state_path / 'missing.conf')
        error = self.assertRaises(
            errors.ConfigError, configuration_module.read,
            argparse.Namespace(
                config=[conf_files.Named(conf_files.FILE, path)]))
        self.assertIn(path, str(error))
