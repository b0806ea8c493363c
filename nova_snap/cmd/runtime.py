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

"""The command's own world: its connection, its files, its credentials."""

import functools
import os

from nova_snap import clock as clock_module
from nova_snap.cmd import configuration as configuration_module
from nova_snap import conf as conf_module
from nova_snap.conf import credentials as credentials_module
from nova_snap.conf import files as conf_files
from nova_snap.host import file_systems
from nova_snap.host import files as files_module
from nova_snap.host import locks as locks_module
from nova_snap.host import processes
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.host import qemu_nbd as qemu_nbd_module
from nova_snap.host import rbd as rbd_module
from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import host as host_module
from nova_snap.journal import checkpoints as checkpoints_module
from nova_snap.journal import store as store_module
from nova_snap.model import observer as observer_module
from nova_snap.services import sign_in
from nova_snap.steps import export as export_module
from nova_snap.steps import world as world_module

PROGRAM = conf_files.PROGRAM


class Runtime:
    """What a subcommand works with.

    :param observer: shows how far a phase is
    """

    def __init__(self, configuration: configuration_module.Configuration,
                 observer: observer_module.Observer) -> None:
        """Read all options.

        :raises ConfigError: when one of them is bad
        """
        self.configuration = configuration
        self._conf = configuration.conf
        self._observer = observer
        self.settings = conf_module.settings(configuration.conf)

    def node(self, *, signed_in: bool) -> world_module.Node:
        """Put the node together; nothing is asked of it yet.

        :param signed_in: the credentials for Glance must be there;
            otherwise only what needs them fails
        :raises ConfigError: when they must be there and are not
        :raises JournalError: when the journal cannot be kept
        """
        settings = self.settings
        file_systems.check_local(settings.journal_dir)
        owner = files_module.owner_for_writes(settings.state_path)
        store = store_module.Store(settings.journal_dir, owner)
        world = world_module.World(
            settings=settings,
            host=host_module.Host(connection_module.Connection(
                settings.connection_uri)),
            qemu_img=qemu_img_module.QemuImg(
                settings.images_cpu_time_limit,
                settings.images_address_space_limit),
            exports=export_module.Exports(qemu_nbd_module.QemuNbd()),
            files=files_module.Files(owner),
            images=sign_in.images(functools.partial(
                credentials_module.load, self._conf, os.environ),
                settings, required=signed_in),
            # Most instances have no volume to be snapshotted.
            volumes=sign_in.volumes(functools.partial(
                credentials_module.load_for_volumes, self._conf, os.environ),
                settings),
            clock=clock_module.Clock(),
            ceph=lambda client: rbd_module.Ceph(
                client.conf, client.user,
                connect_timeout=settings.rbd_connect_timeout),
            checkpoints=checkpoints_module.Checkpoints(settings.journal_dir,
                                                       owner),
            observer=self._observer)
        return world_module.Node(
            world=world, store=store,
            locks=locks_module.Locks(settings.journal_dir, owner,
                                     timeout=settings.lock_timeout),
            boot_id=files_module.boot_id(),
            nova_compute_runs=processes.nova_compute_runs)
