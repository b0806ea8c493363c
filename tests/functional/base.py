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

"""What all functional tests share: one lab, a command, a node, a look.

The lab (libvirtd and Glance) is started by the first test that needs it and
found again by every later process; ``python -m tests.lab down`` ends it.
NOVA_SNAP_LAB_RUN names another run folder than the lab's default. The tests
share it, so they run one after the other (``stestr run --serial``).
"""

import argparse
import collections.abc as cabc
import configparser
import dataclasses
import fcntl
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing as ty
import urllib.request
import uuid as uuid_module

import libvirt
import libvirt_qemu
from oslotest import base as oslotest_base

from nova_snap.cmd import configuration as configuration_module
from nova_snap.cmd import runtime as runtime_module
from nova_snap.conf import files as conf_files
from nova_snap.flows import snapshot
from nova_snap.model import layer as layer_model
from nova_snap.model import observer as observer_module
from nova_snap.model.plan import backup as backup_plan
from nova_snap.model import request as request_model
from nova_snap.model import result as result_model
from nova_snap.steps import world as world_module
from nova_snap import units
from tests.lab import glance as glance_module
from tests.lab.guest import domain as guest_domain
from tests.lab import hypervisor
from tests.lab import place

AnyGuest = ty.TypeVar('AnyGuest', bound=guest_domain.Guest)

# Seconds: a snapshot takes five here; a loaded machine takes its time.
COMMAND_TIMEOUT = 180
# Seconds for the agent's answer to a question of the test's own.
AGENT_TIMEOUT = 10
CHUNK = units.MiB
# As which the lab's libvirt runs QEMU.
QEMU_USER = 'libvirt-qemu'

Hook = cabc.Callable[..., ty.Any]
# Called with a call's name ('domain.freeze'), the call itself without
# arguments, and its arguments; returns what the call shall return.
Around = cabc.Callable[[str, cabc.Callable[[], ty.Any], tuple[ty.Any, ...]],
                       ty.Any]


class Hooks(dict[str, Hook]):
    """Names of outside calls, and what is done in the place of each.

    A hook gets the call itself, without arguments, then its positional
    arguments; most do something, call it, and return what it returned.
    """

    def __call__(self, name: str, call: cabc.Callable[[], ty.Any],
                 args: tuple[ty.Any, ...]) -> ty.Any:
        return self[name](call, *args) if name in self else call()


# What has an edge of its own.
EDGES = {('host', 'domain'), ('domain', 'backup_job'),
         ('domain', 'block_device'), ('domain', 'checkpoints')}


class Edge:
    """Stands before one part of the world: each call goes through a hook.

    A domain that the host returns gets an edge of its own, and so does a
    block device of it; the edge has the name of the method.
    """

    def __init__(self, name: str, inner: ty.Any, around: Around) -> None:
        self._name = name
        self._inner = inner
        self._around = around

    def __getattr__(self, name: str) -> ty.Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        @functools.wraps(value)
        def through(*args: ty.Any, **kwargs: ty.Any) -> ty.Any:
            if (self._name, name) in EDGES:
                return Edge(name, value(*args), self._around)
            return self._around(f'{self._name}.{name}',
                                functools.partial(value, *args, **kwargs),
                                args)
        return through


def make_node(config_file: pathlib.Path | str,
              around: Around | None = None) -> world_module.Node:
    """Build the command's node in this process.

    :param around: see Around; of the host, its domains, qemu-img, files,
        images and the journal's store. :class:`Hooks` is one.
    """
    runtime = runtime_module.Runtime(
        configuration_module.read(
            argparse.Namespace(config=[conf_files.Named(
                conf_files.FILE, str(config_file))])),
        observer_module.Observer())
    node = runtime.node(signed_in=True)
    return node if around is None else edged(node, around)


def edged(node: world_module.Node, around: Around) -> world_module.Node:
    """Put an edge before each part of a node; see :func:`make_node`."""
    parts: dict[str, ty.Any] = {
        name: Edge(name, getattr(node.world, name), around)
        for name in ('host', 'qemu_img', 'files', 'images')}
    return dataclasses.replace(
        node, store=ty.cast(ty.Any, Edge('store', node.store, around)),
        world=dataclasses.replace(node.world, **parts))


@dataclasses.dataclass(frozen=True)
class Lab:
    """What runs, and where."""

    run_dir: pathlib.Path
    libvirtd: hypervisor.Libvirtd
    glance: glance_module.Glance


@functools.cache
def lab() -> Lab:
    """Start the lab, or find it."""
    run_dir = place.make_dir(pathlib.Path(
        os.environ.get('NOVA_SNAP_LAB_RUN') or place.default_run_dir()))
    with open(run_dir / 'start.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        glance = glance_module.Glance(run_dir).start(wait=False)
        libvirtd = hypervisor.Libvirtd(run_dir).start()
        glance.wait_ready()
    return Lab(run_dir, libvirtd, glance)


@dataclasses.dataclass(frozen=True)
class Seen:
    """All of a guest that a snapshot must leave as it was.

    :ivar qemu_id: another number is another QEMU process
    :ivar boots: how often the guest has booted
    :ivar definition: its inactive XML; None for a transient domain
    """

    state: int
    qemu_id: int
    boots: int
    managed_save: bool
    autostart: bool | None
    definition: str | None


def look(guest: guest_domain.Guest) -> Seen:
    """Look at a guest from outside."""
    domain = guest.domain
    persistent = bool(domain.isPersistent())
    return Seen(
        state=domain.state()[0], qemu_id=domain.ID(),
        boots=guest.console().count('GUEST boot '),
        managed_save=bool(domain.hasManagedSaveImage()),
        autostart=bool(domain.autostart()) if persistent else None,
        definition=domain.XMLDesc(
            libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
        if persistent else None)


class FunctionalTest(oslotest_base.BaseTestCase):
    """A test on a real libvirt, QEMU and Glance.

    :ivar folder: this test's own: nova.conf, state_path, downloads
    :ivar options: what nova.conf holds, by group and option; write to it
        before the command or the node is made
    """

    # Guests that the tests of one class share, by what they were made of.
    _shared: ty.ClassVar[dict[ty.Any, guest_domain.Guest]] = {}

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest('only root may start the lab')
        self.lab = lab()
        # Short: sockets lie below it.
        self.folder = place.make_dir(
            self.lab.run_dir / 't' / str(uuid_module.uuid4())[:6])
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.snapshots = place.make_dir(self.folder / 'snapshots')
        self.assertLess(
            len(os.fsencode(self.snapshots / backup_plan.SCRATCH_NAME
                            / backup_plan.DIRECTORY / backup_plan.SOCKET)),
            layer_model.LONGEST_SOCKET,
            'no socket fits: set NOVA_SNAP_LAB to a shorter path')
        self.journal = self.folder / 'state' / 'nova_snap'
        place.make_dir(self.folder / 'state')
        self.options: dict[str, dict[str, str]] = {
            'DEFAULT': {
                'state_path': str(self.folder / 'state'),
                'instances_path': str(self.lab.run_dir / 'instances')},
            'libvirt': {
                'virt_type': 'kvm' if self.lab.libvirtd.kvm_works
                else 'qemu',
                'connection_uri': self.lab.libvirtd.uri,
                'snapshots_directory': str(self.snapshots)},
            'nova_snap': {'auth_type': 'none',
                          'endpoint': self.lab.glance.endpoint}}
        self._images_before = set(self.images())
        self.addCleanup(self._delete_images)

    # Guests

    def file_system(self, name: str, size: int,
                    kind: str = 'ext4') -> hypervisor.FileSystem:
        """Make one for the test; see Libvirtd.own_file_system."""
        own = self.lab.libvirtd.own_file_system(name, size, kind)
        made = own.__enter__()
        self.addCleanup(own.__exit__, None, None, None)
        return made

    def guest(self, kind: str = 'qcow2-on-raw-base', *, boot: bool = True,
              shared: bool = False, **facts: ty.Any) -> guest_domain.Guest:
        """Make a guest, boot it, and remove it when the test is over.

        :param shared: until the class is over instead: for tests that leave
            it as it was. One that was left otherwise is made anew.
        :param facts: fields of the lab's ``Spec``, as ``agent`` and ``nova``
        """
        return self.kept(
            (kind, json.dumps(facts, default=repr, sort_keys=True)),
            lambda: guest_domain.Guest.create(self.lab.libvirtd, kind,
                                              **facts),
            boot=boot, shared=shared)

    def kept(self, key: ty.Any, make: cabc.Callable[[], AnyGuest], *,
             boot: bool = True, shared: bool) -> AnyGuest:
        """Make a guest, or return the one that is shared; see :meth:`guest`.

        :param key: which of those that the class shares
        """
        key = (type(self), key)
        kept = self._shared.get(key) if shared else None
        if kept is not None:
            if _is_well(kept):
                return ty.cast(AnyGuest, kept)
            kept.remove()
        guest = make()
        if shared:
            self._shared[key] = guest
            self.addClassCleanup(guest.remove)
        else:
            self.addCleanup(guest.remove)
        if boot:
            guest.boot()
        return guest

    # The product

    def write_config(self) -> pathlib.Path:
        """Write nova.conf from :attr:`options`, and name it."""
        config = configparser.ConfigParser(interpolation=None,
                                           default_section='')
        config.read_dict(self.options)
        path = self.folder / 'nova.conf'
        with path.open('w') as file:
            config.write(file)
        return path

    def start_nova_snap(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the real command and do not wait for it."""
        return subprocess.Popen(
            [*self.nova_snap_line(), *arguments], text=True,
            env=operators_environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def nova_snap_line(self) -> list[str]:
        """Return the command as far as its options of nova.conf."""
        command = pathlib.Path(sys.executable).with_name('nova-snap')
        return [str(command), '--config-file', str(self.write_config())]

    def nova_snap(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the real command to its end, whatever that is."""
        with self.start_nova_snap(*arguments) as process:
            try:
                out, err = process.communicate(timeout=COMMAND_TIMEOUT)
            finally:
                process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode,
                                           out, err)

    def node(self, around: Around | None = None) -> world_module.Node:
        """Build the command's node in this process; see make_node."""
        return make_node(self.write_config(), around)

    def request(self, guest: guest_domain.Guest,
                **facts: ty.Any) -> request_model.Request:
        """Ask for a snapshot under a new image id.

        :param facts: other fields of the request, as ``cold``
        """
        asked = request_model.RequestedImage(
            facts.pop('image_id', str(uuid_module.uuid4())),
            facts.pop('name', self.id()[-60:]))
        return request_model.Request(guest.spec.uuid, (asked,), **facts)

    def take(self, guest: guest_domain.Guest, hooks: Around | None = None,
             **facts: ty.Any) -> result_model.Result:
        """Take a snapshot in this process; see :meth:`request`."""
        return snapshot.take(self.node(hooks), self.request(guest, **facts))

    # Glance

    def glance(self, path: str, method: str = 'GET',
               body: dict[str, ty.Any] | None = None) -> bytes:
        """Ask Glance itself, not through the product."""
        return self.lab.glance.ask(path, method, body)

    def image(self, image_id: str) -> dict[str, ty.Any]:
        """Return an image as Glance shows it."""
        return dict(json.loads(self.glance(f'images/{image_id}')))

    def images(self) -> dict[str, dict[str, ty.Any]]:
        """Return all images, by id; the lab has fewer than a page."""
        listed = json.loads(self.glance('images?limit=1000'))['images']
        return {image['id']: image for image in listed}

    def download(self, image_id: str) -> pathlib.Path:
        """Fetch an image's data from Glance into a sparse file."""
        path = self.folder / f'image-{image_id}'
        url = f'{self.lab.glance.endpoint}/v2/images/{image_id}/file'
        with urllib.request.urlopen(url, timeout=60) as data, \
                path.open('wb') as file:
            while chunk := data.read(CHUNK):
                if chunk.count(0) == len(chunk):
                    file.seek(len(chunk), os.SEEK_CUR)
                else:
                    file.write(chunk)
            file.truncate()
        return path

    def delete_image(self, image_id: str) -> None:
        """Delete an image as a tenant does."""
        self.lab.glance.delete_image(image_id)

    def _delete_images(self) -> None:
        for image_id in set(self.images()) - self._images_before:
            self.delete_image(image_id)

    # What must be true afterwards

    def assert_guest_untouched(self, guest: guest_domain.Guest, before: Seen,
                               *, same_process: bool = True) -> None:
        """Assert that a guest is as it was when it was looked at.

        :param before: what :func:`look` returned before the operation
        :param same_process: False after a cold snapshot, where the guest
            goes on in another QEMU process
        """
        after = look(guest)
        if not same_process and after.qemu_id != -1:
            after = dataclasses.replace(after, qemu_id=before.qemu_id)
        self.assertEqual(before, after)
        domain = guest.domain
        if not domain.isActive():
            return
        self.assertNotIn('<mirror', domain.XMLDesc())
        self.assertFalse(domain.blockJobInfo('vda'))
        if after.state == libvirt.VIR_DOMAIN_RUNNING:
            self.assert_thawed(guest)
            self.assertTrue(guest.is_writing(),
                            f'{guest.spec.name} writes no records')

    def assert_thawed(self, guest: guest_domain.Guest) -> None:
        """Assert that a guest's file systems are not frozen.

        An agent that is absent or hung cannot have frozen them, nor can one
        with which libvirt speaks no more.
        """
        if guest.spec.agent in ('run', 'refuses'):
            answer = json.loads(libvirt_qemu.qemuAgentCommand(
                guest.domain, '{"execute": "guest-fsfreeze-status"}',
                AGENT_TIMEOUT, 0))
            self.assertEqual('thawed', answer['return'])

    def assert_nothing_left(self, *image_ids: str) -> None:
        """Assert that no directory, no record and no image was left.

        :param image_ids: those that the test made on purpose; active
        """
        self.assertEqual([], sorted(self.snapshots.iterdir()))
        self.assertEqual([], sorted(self.journal.glob('records/*')))
        new = {image_id: image['status']
               for image_id, image in self.images().items()
               if image_id not in self._images_before}
        self.assertEqual(dict.fromkeys(image_ids, 'active'), new)


def operators_environment() -> dict[str, str]:
    """Return the environment without what is meant for the tests alone.

    Python's warnings are among it: a command that is interrupted leaves open
    files to the end of its process.
    """
    return {name: value for name, value in os.environ.items()
            if not name.startswith('OS_') and name != 'PYTHONWARNINGS'}


def _is_well(guest: guest_domain.Guest) -> bool:
    """Tell whether a shared guest may be used by one more test."""
    try:
        domain = guest.domain
        return bool(domain.isPersistent()
                    and domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
                    and '<mirror' not in domain.XMLDesc()
                    and guest.is_writing())
    except libvirt.libvirtError:
        return False
