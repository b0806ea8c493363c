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


"""Nova's own live snapshot of a local qcow2 disk: its calls, in their order.

``python -m bench.upstream URI INSTANCE SNAPSHOTS ENDPOINT IMAGE_ID FILE``

What nova-compute does between the API's request and the active image, with
the commands, the calls and the client that Nova has, and without its queues
and its database. The image is moved to FILE in the end, not removed.

:source: Nova 34.0.0, nova/virt/libvirt/driver.py, snapshot() and
    _live_snapshot(); other places are named where they are followed
"""

import contextlib
import os
import shutil
import sys
import tempfile
import time
import uuid

import glanceclient
import libvirt
from lxml import etree
from oslo_concurrency import processutils
from oslo_utils import fileutils
from oslo_utils import imageutils
from oslo_utils.imageutils import format_inspector

from bench import marks
from nova_snap import units

# :source: nova/privsep/qemu.py QEMU_IMG_LIMITS; nova/conf/libvirt.py,
#     images_cpu_time_limit and images_address_space_limit
LIMITS = processutils.ProcessLimits(cpu_time=30, address_space=units.GiB)

# Seconds. :source: _live_snapshot(), "time.sleep(0.5)"
POLL = 0.5

AGENT = 'hw_qemu_guest_agent'
NOVA = {'nova': 'http://openstack.org/xmlns/libvirt/nova/1.1'}


class Snapshot:
    """One live snapshot."""

    def __init__(self, domain: libvirt.virDomain,
                 client: glanceclient.Client, image_id: str) -> None:
        self._domain = domain
        self._client = client
        self._image_id = image_id
        xml = etree.fromstring(domain.XMLDesc())
        self._target, self._path, self._format = (
            str(xml.xpath(f'string(devices/disk[1]/{what})'))
            for what in ('target/@dev', 'source/@file', 'driver/@type'))
        self._has_agent = bool(xml.xpath(
            f'//nova:property[@name="{AGENT}"]', namespaces=NOVA))

    def take(self, directory: str, keep: str) -> None:
        """Take it, in a folder of its own below ``directory``."""
        self._client.images.get(self._image_id)
        fileutils.ensure_tree(directory)
        # :source: nova/utils.py tempdir()
        folder = tempfile.mkdtemp(dir=directory)
        try:
            out_path = os.path.join(folder, uuid.uuid4().hex)
            os.chmod(folder, 0o701)
            self._extract(out_path)
            self._update(out_path)
            os.rename(out_path, keep)
        finally:
            shutil.rmtree(folder)

    def _extract(self, out_path: str) -> None:
        """Do as _live_snapshot() does, for an image of format qcow2."""
        target = self._target
        xml = self._domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE
                                   | libvirt.VIR_DOMAIN_XML_SECURE)
        with contextlib.suppress(libvirt.libvirtError):
            self._domain.blockJobAbort(target, 0)
        delta = f'{out_path}.delta'
        self._create_delta(delta)
        try:
            self._undefine()
            self._domain.blockRebase(
                target, delta, 0,
                libvirt.VIR_DOMAIN_BLOCK_REBASE_SHALLOW
                | libvirt.VIR_DOMAIN_BLOCK_REBASE_REUSE_EXT
                | libvirt.VIR_DOMAIN_BLOCK_REBASE_COPY)
            while not self._is_complete(target):
                time.sleep(POLL)
        finally:
            if self._has_agent:
                self._domain.fsFreeze()
            self._domain.blockJobAbort(target, 0)
            os.chown(delta, os.getuid(), -1)
            self._domain.connect().defineXML(xml)
            if self._has_agent:
                self._domain.fsThaw()
        # :source: nova/privsep/qemu.py unprivileged_convert_image(), where
        #     the file system has O_DIRECT
        processutils.execute('qemu-img', 'convert', '-t', 'none',
                             '-O', 'qcow2', '-f', 'qcow2', delta, out_path)
        fileutils.delete_if_exists(delta)

    def _create_delta(self, delta: str) -> None:
        """Make it over the disk's backing file.

        :source: nova/virt/libvirt/utils.py get_disk_size(),
            get_disk_backing_file() and create_image()
        """
        size = _info(self._path, self._format).virtual_size
        base = _info(self._path, self._format).backing_file
        _inspect(base)
        details = _info(base)
        options = [f'backing_file={base}',
                   f'backing_fmt={details.file_format}']
        if details.cluster_size is not None:
            options.append(f'cluster_size={details.cluster_size}')
        processutils.execute('env', 'LC_ALL=C', 'LANG=C', 'qemu-img', 'create',
                             '-f', 'qcow2', '-o', ','.join(options), delta,
                             str(size))

    def _undefine(self) -> None:
        """Take the definition out.

        :source: nova/virt/libvirt/guest.py delete_configuration()
        """
        if self._domain.isPersistent():
            self._domain.undefineFlags(
                libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM
                | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)

    def _is_complete(self, target: str) -> bool:
        """Tell whether the mirror is ready.

        :source: nova/virt/libvirt/guest.py is_job_complete()
        """
        status = self._domain.blockJobInfo(target, 0)
        if not status:
            return True
        if status['cur'] != status['end']:
            return False
        xml = etree.fromstring(self._domain.XMLDesc())
        mirror = xml.find(f"devices/disk/target[@dev='{target}']/../mirror")
        return mirror is not None and mirror.get('ready') == 'yes'

    def _update(self, out_path: str) -> None:
        """Describe the image and upload it.

        :source: nova/image/glance.py _update_v2() and _upload_data()
        """
        self._client.images.update(
            self._image_id, remove_props=[], disk_format='qcow2',
            container_format='bare', image_location='snapshot',
            image_state='available')
        with open(out_path, 'rb') as image_file:
            self._client.images.upload(self._image_id, image_file)
        self._client.images.get(self._image_id)


def _info(path: str, image_format: str | None = None
          ) -> imageutils.QemuImgInfo:
    """Look at a disk.

    :source: nova/privsep/qemu.py unprivileged_qemu_img_info()
    """
    words = ['env', 'LC_ALL=C', 'LANG=C', 'qemu-img', 'info', path,
             '--force-share', '--output=json']
    if image_format is not None:
        words += ['-f', image_format]
    out, _ = processutils.execute(*words, prlimit=LIMITS)
    return imageutils.QemuImgInfo(out, format='json')


def _inspect(path: str) -> None:
    """Look whether a base is safe.

    :source: nova/virt/images.py get_image_format()
    """
    with open(path, 'rb') as file:
        wrapper = format_inspector.InspectWrapper(file)
        with contextlib.closing(wrapper):
            while file.peek() and not wrapper.formats:
                wrapper.read(4096)
    assert wrapper.format is not None
    wrapper.format.safety_check()


def main(argv: list[str]) -> int:
    """Take one snapshot."""
    uri, instance, directory, endpoint, image_id, keep = argv
    libvirt.registerErrorHandler(lambda *_: None, None)
    client = glanceclient.Client('2', endpoint=endpoint, token='none')
    conn = libvirt.open(uri)
    marks.loaded()
    Snapshot(conn.lookupByUUIDString(instance), client, image_id).take(
        directory, keep)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
