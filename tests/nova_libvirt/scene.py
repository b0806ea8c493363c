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


"""Our driver's own runtime on the lab's libvirt, as nova-compute has it."""

import sys
import typing as ty

import fixtures
import nova.conf
from nova.tests import fixtures as nova_fixtures
from nova.virt.libvirt import host as nova_host

from nova_snap import conf as conf_module
from nova_snap.driver import natively
from nova_snap.driver import runtime as runtime_module
from tests.functional import base

CONF = nova.conf.CONF


class DriverTest(base.FunctionalTest):
    """A snapshot is taken by the driver's node, on Nova's connection."""

    # As nova-compute has one, for as long as it runs.
    host: ty.ClassVar[nova_host.Host | None] = None

    def setUp(self):
        super().setUp()
        self.useFixture(nova_fixtures.PrivsepFixture())
        # Nova notifies other services that a connection cannot be had.
        for notify in ('rpc.get_notifier', 'compute.utils.'
                       'notify_about_libvirt_connect_error'):
            self.useFixture(fixtures.MockPatch(f'nova.{notify}'))
        self.addCleanup(CONF.reset)

    @classmethod
    def connect(cls, uri):
        """Connect as nova-compute does, once, and start to hear of events."""
        if cls.host is None:
            cls.host = nova_host.Host(uri)
            cls.host.initialize()
            if natively._eventlet() is None:
                # Nova leaves a thread behind, for which Python would wait.
                cls.addClassCleanup(cls.host._conn_event_handler_queue.put,
                                    sys.exit)
        return cls.host

    def node(self, around=None):
        images = super().node().world.images
        conf_module.register_beside_nova(CONF)
        CONF([], project='nova',
             default_config_files=[str(self.write_config())])
        settings = conf_module.settings(CONF)
        runtime = runtime_module.Runtime(
            settings, self.connect(settings.connection_uri),
            power_up=lambda uuid: None)
        # Its Glance wants no token.
        return base.edged(runtime.node(images), around)
