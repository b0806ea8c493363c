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

"""All that the campaign runs on: libvirt, QEMU, Glance, guests, children."""

import collections.abc as cabc
import configparser
import contextlib
import dataclasses
import http
import json
import os
import pathlib
import secrets
import shutil
import typing as ty
import urllib.error

import libvirt
import libvirt_qemu

from nova_snap import units
from tests.faults import children as children_module
from tests.faults import flows as flows_module
from tests.faults import sick
from tests.faults import stores
from tests.lab import ceph as ceph_module
from tests.lab import errors
from tests.lab import glance as glance_module
from tests.lab.guest import build as guest_build
from tests.lab.guest import disk as guest_disk
from tests.lab.guest import domain as guest_domain
from tests.lab import hypervisor
from tests.lab import place
from tests.lab import process
from tests.lab import proxy

# Below the lab's folder.
RUN = 'faults'
# How the campaign's images are named; of more disks the others have its
# target after it.
IMAGE = 'campaign'

# Of the lab's Glance: who has no token, but for the user.
IDENTITY = glance_module.IDENTITY.partition(':')[2]
# Seconds for the agent to come up after a boot.
AGENT_TIMEOUT = 60

# Short, so that a case which waits for one of them costs seconds.
DEADLINES = {'ready_timeout': '40', 'stall_timeout': '10',
             'freeze_timeout': '5', 'save_timeout': '40',
             'lock_timeout': '5'}
# Of a file system that has enough.
RESERVE = 64 * units.MiB
# Of one that is to be filled; a snapshot of the guests takes a tenth.
SMALL = 400 * units.MiB
# What a file of the host's holds that nothing may change.
VICTIM = b'of the host'
# What fills it.
FILLER = 'filler'
# What mkfs makes.
LOST_AND_FOUND = 'lost+found'

# Of a guest's disk in a file.
DISK_XML = """<disk type='file' device='disk'>
  <driver name='qemu' type='{}' cache='none'/>
  <source file='{}'/><target dev='{}' bus='virtio'/>
</disk>"""

Json: ty.TypeAlias = dict[str, ty.Any]


class Scene:
    """What runs, and where.

    :ivar is_shared: another tool has started it, and ends it
    :ivar snapshots: the snapshots_directory of the flows
    :ivar victim: a file of the host's that links lead to
    :ivar stores: the Glances that there are; ``store`` is the one in use
    :ivar ceph: where it is up
    :ivar makers: of other guests than those that lie in files
    :ivar sections: more of nova.conf, for the flows of one store
    :ivar spared: images that belong to no case
    :ivar said: all that the command has printed in a case
    :ivar token: by which Glance is asked
    :ivar canary: a password in the definition of each guest; VNC's have
        eight letters
    :ivar secrets: these two, and what else must be nowhere
    """

    def __init__(self) -> None:
        """Start what does not run yet.

        :raises LabError: when something does not start
        """
        shared = os.environ.get('NOVA_SNAP_LAB_RUN')
        self.is_shared = bool(shared)
        self.run_dir = pathlib.Path(shared or place.lab_dir() / RUN)
        place.make_dir(self.run_dir)
        glance = glance_module.Glance(self.run_dir).start(wait=False)
        guest_build.parts()
        self.libvirtd = hypervisor.Libvirtd(self.run_dir).start()
        glance.wait_ready()
        self.folder = self.run_dir / 'campaign'
        shutil.rmtree(self.folder, ignore_errors=True)
        place.make_dir(self.folder)
        self.snapshots = place.make_dir(self.folder / 'snapshots')
        self.state = place.make_dir(self.folder / 'state')
        self.victim = self.folder / 'victim'
        self.records = self.state / 'nova_snap' / 'records'
        self.token = f'cnrytoken{secrets.token_hex(8)}'
        self.canary = f'cnry{secrets.token_hex(2)}'
        self.secrets = [self.canary, self.token]
        self.spared: set[str] = set()
        self.said: list[str] = []
        self.store = stores.Store(glance)
        self.stores = dict.fromkeys(
            (flows_module.Store.FILES, flows_module.Store.CINDER),
            self.store)
        self.ceph: ceph_module.Ceph | None = None
        self.children = [
            children_module.Children(self.folder / f'child-{number}',
                                     self.said) for number in range(2)]
        self._guests: dict[flows_module.Kind, guest_domain.Guest] = {}
        self.makers: dict[flows_module.Kind, cabc.Callable[
            [flows_module.Kind], guest_domain.Guest]] = {
                flows_module.Kind.TWO_DISKS: lambda kind: self._two_disks()}
        self.sections: dict[flows_module.Store,
                            dict[str, dict[str, str]]] = {}
        self._ending = contextlib.ExitStack()
        self._small: hypervisor.FileSystem | None = None
        self._smalls = contextlib.ExitStack()
        self._another: guest_domain.Guest | None = None

    def stop(self) -> None:
        """End the campaign's own processes and guests."""
        for children in self.children:
            children.stop()
        for guest in self._guests.values():
            guest.remove()
        self._smalls.close()
        self._ending.close()
        for store in set(self.stores.values()):
            store.between.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def down(self) -> None:
        """End libvirt and Glance."""
        end(self.run_dir)

    @property
    def glance(self) -> glance_module.Glance:
        """The Glance that the flow at hand sends to."""
        return self.store.glance

    @property
    def between(self) -> proxy.Proxy:
        """The proxy in front of it."""
        return self.store.between

    # Guests

    def guest(self, kind: flows_module.Kind) -> guest_domain.Guest:
        """Return a guest, as a case needs it: booted, or off."""
        guest = self._guests.get(kind)
        if guest is None:
            guest = self.makers.get(kind, self._make)(kind)
            self._guests[kind] = guest
            guest.boot()
            # A guest that is defined anew must have that again, too.
            guest.domain.setAutostart(1)
            if kind in flows_module.OFF:
                guest.destroy()
            elif kind == flows_module.Kind.PAUSED:
                guest.domain.suspend()
        return guest

    def _make(self, kind: flows_module.Kind) -> guest_domain.Guest:
        return guest_domain.Guest.create(
            self.libvirtd, 'raw' if kind == flows_module.Kind.RAW
            else 'qcow2-on-raw-base',
            agent=None if kind == flows_module.Kind.SILENT else 'run',
            extra_devices=self._display())

    def _two_disks(self) -> guest_domain.Guest:
        """Make a guest that writes its records to two disks in turn."""
        guest = guest_domain.Guest.create(
            self.libvirtd, 'qcow2', agent='run',
            extra_devices=self._display())
        assert guest.spec.disk is not None
        second = guest.folder / 'second'
        with second.open('wb') as file:
            file.truncate(2 * guest_build.RECORDS_SIZE)
        guest.spec = dataclasses.replace(guest.spec, volumes=tuple(
            DISK_XML.format(one.driver_format, one.path, target)
            for one, target in ((guest.spec.disk, 'vda'), (
                guest_disk.Disk(second, 'raw'), 'vdb'))))
        return guest

    def another(self) -> guest_domain.Guest:
        """Return a running guest that no case is about."""
        if self._another is None:
            self._another = guest_domain.Guest.create(
                self.libvirtd, 'qcow2-on-raw-base', agent='run').boot()
            self._ending.callback(self._another.remove)
        return self._another

    def renew(self, kind: flows_module.Kind) -> None:
        """Remove a guest that came to harm; the next case gets another."""
        guest = self._guests.pop(kind, None)
        if guest is not None:
            guest.remove()
        self.clear()

    def clear(self) -> None:
        """Remove what a broken case has left."""
        for folder in self.folders():
            for path in folder.iterdir() if folder.exists() else ():
                if path.is_dir() and path.name != LOST_AND_FOUND:
                    shutil.rmtree(path)
                elif not path.is_dir():
                    path.unlink()

    def small(self) -> hypervisor.FileSystem:
        """Return the small file system, which is made when it is needed."""
        if self._small is None:
            self._small = self._smalls.enter_context(
                self.libvirtd.own_file_system('campaign', SMALL))
        return self._small

    @property
    def small_snapshots(self) -> pathlib.Path:
        """The snapshots_directory on the small file system."""
        return self.small().path

    def mend_small(self) -> None:
        """Give the small file system its room back, or make it anew."""
        if self._small is None or self._is_well(self._small.path):
            return
        with contextlib.suppress(errors.LabError):
            process.run(['mount', '-o', 'remount,rw', str(self._small.path)])
        if not self._is_well(self._small.path):
            self._smalls.close()
            self._small = None

    def _is_well(self, path: pathlib.Path) -> bool:
        """Tell whether a file system takes a file; give it its room back."""
        try:
            filler = path / FILLER
            filler.unlink(missing_ok=True)
            filler.write_bytes(b'.')
            filler.unlink()
        except OSError:
            return False
        return True

    def folders(self) -> list[pathlib.Path]:
        """Return where nothing may be left."""
        return [self.snapshots, self.records,
                *([self._small.path] if self._small else [])]

    def start(self, guest: guest_domain.Guest) -> None:
        """Start a guest that is off, and wait until all of it is there."""
        since = len(guest.console())
        guest.start()
        guest.wait_for(r'^REC \d+', since=since)
        self.await_agent(guest)

    def await_agent(self, guest: guest_domain.Guest) -> None:
        """Wait until libvirt sees the guest's agent, where it has one."""
        if guest.spec.agent is None:
            return
        process.wait_until(
            lambda: guest_domain.AGENT_CONNECTED in guest.domain.XMLDesc(),
            timeout=AGENT_TIMEOUT, what='the guest agent')

    def await_answer(self, guest: guest_domain.Guest,
                     timeout: float = sick.HANG_TIMEOUT) -> None:
        """Wait until an agent answers that libvirt has seen.

        :raises LabError: when it does not in time
        """
        def answers() -> bool:
            try:
                libvirt_qemu.qemuAgentCommand(
                    guest.domain, '{"execute": "guest-ping"}', 1, 0)
            except libvirt.libvirtError:
                return False
            return True

        process.wait_until(answers, timeout=timeout, what='the agent')

    def _display(self) -> str:
        """Have a password in the definition, which must go nowhere."""
        return (f"<graphics type='vnc' autoport='yes' "
                f"passwd='{self.canary}'/>"
                "<video><model type='none'/></video>")

    # The product

    def config(self, flow: flows_module.Flow, *,
               on_small: bool = False) -> pathlib.Path:
        """Write a nova.conf and return its path.

        :param on_small: snapshots_directory is the small file system, and
            no room is kept
        """
        snapshots = self.small_snapshots if on_small else self.snapshots
        reserve = 0 if on_small else RESERVE
        config = configparser.ConfigParser(interpolation=None,
                                           default_section='')
        sections: dict[str, dict[str, str]] = {
            'DEFAULT': {'state_path': str(self.state),
                        'instances_path': str(self.run_dir / 'instances')},
            'libvirt': {'virt_type': 'qemu',
                        'connection_uri': self.libvirtd.uri,
                        'snapshots_directory': str(snapshots)},
            'glance': {'num_retries': '1'},
            'nova_snap': {**DEADLINES, 'auth_type': 'admin_token',
                          'token': f'{self.token}:{IDENTITY}',
                          'space_reserve': str(reserve),
                          'endpoint': self.between.endpoint,
                          **dict(flow.options)}}
        for name, more in self.sections.get(flow.store, {}).items():
            sections[name] = {**sections.get(name, {}), **more}
        config.read_dict(sections)
        path = self.folder / f'{flow.name}.conf'
        with path.open('w') as file:
            config.write(file)
        return path

    def left(self) -> list[Json]:
        """Return the records that are in the journal."""
        found = []
        for path in self.records.glob('*.json'):
            with contextlib.suppress(ValueError):
                found.append(json.loads(path.read_text()))
        return found

    def has_files(self) -> bool:
        """Tell whether a recovery has something to do.

        What was half written of a record is none, and goes with it.
        """
        return self.records.exists() and any(self.records.iterdir())

    # Glance, not through the proxy

    def images(self) -> dict[str, Json]:
        """Return all images, by id; the lab has fewer than a page."""
        listed = json.loads(self.glance.ask('images?limit=1000'))['images']
        return {image['id']: image for image in listed}

    def image(self, image_id: str) -> Json:
        """Return an image as Glance shows it."""
        return dict(json.loads(self.glance.ask(f'images/{image_id}')))

    def delete_image(self, image_id: str) -> None:
        """Delete an image as a tenant does."""
        self.glance.delete_image(image_id)

    def delete_all(self, images: cabc.Iterable[Json]) -> None:
        """Delete images, each of which may have begun as another one.

        Glance keeps one that has a clone.

        :raises OSError: when it keeps the others, too
        """
        left = sorted(images, key=lambda one: str(one['created_at']))
        while left:
            kept: list[Json] = []
            for image in reversed(left):
                try:
                    self.delete_image(image['id'])
                except urllib.error.HTTPError as exc:
                    if exc.code != http.HTTPStatus.CONFLICT:
                        raise
                    kept.insert(0, image)
                    refusal = exc
            if len(kept) == len(left):
                raise refusal
            left = kept

    def delete_images(self) -> None:
        """Delete the images of the campaign, as their owner does."""
        self.delete_all(self.own_images())

    def own_images(self) -> list[Json]:
        """Return the images of the campaign."""
        return [image for image in self.images().values()
                if image['name'].startswith(IMAGE)]


def end(run_dir: pathlib.Path) -> None:
    """End libvirt and Glance, with all guests."""
    hypervisor.Libvirtd(run_dir).stop()
    glance_module.Glance(run_dir).stop()


def is_gone(guest: guest_domain.Guest) -> bool:
    """Tell whether libvirt knows the guest no more."""
    try:
        return not guest.domain
    except libvirt.libvirtError as exc:
        return bool(exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN)
