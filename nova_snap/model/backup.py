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

"""A pull-mode backup in libvirt's XML.

:source: libvirt docs/formatbackup.rst
"""

import collections.abc as cabc
import dataclasses

from lxml import etree

from nova_snap.model import checkpoint as checkpoint_model


@dataclasses.dataclass(frozen=True)
class Backup:
    """A backup job, as far as it shows whose it is.

    :ivar socket: of its NBD server; '' where it has none on this host
    :ivar scratches: the target of each disk that is backed up, and the file
        that keeps what the guest overwrites
    :ivar since: the checkpoint that shows what has changed; '' where that
        is not asked for
    """

    socket: str
    scratches: tuple[tuple[str, str], ...]
    since: str = ''


def begin_xml(backup: Backup) -> str:
    """Write what starts a backup; disks that are not named are left out.

    Each disk is exported under its target.
    """
    root = etree.Element('domainbackup', mode='pull')
    if backup.since:
        etree.SubElement(root, 'incremental').text = backup.since
    etree.SubElement(root, 'server', transport='unix', socket=backup.socket)
    disks = etree.SubElement(root, 'disks')
    for target_dev, path in backup.scratches:
        disk = etree.SubElement(disks, 'disk', name=target_dev, backup='yes',
                                type='file', exportname=target_dev)
        if backup.since:
            disk.set('exportbitmap', checkpoint_model.EXPORT)
        etree.SubElement(disk, 'driver', type='qcow2')
        etree.SubElement(disk, 'scratch', file=path)
    return etree.tostring(root, encoding='unicode')


def parse(xml: str) -> Backup:
    """Read what libvirt says of the backup that runs."""
    root = etree.fromstring(xml.encode(), etree.XMLParser(
        resolve_entities=False, no_network=True))
    server = root.find('./server')
    return Backup(
        socket='' if server is None else server.get('socket', ''),
        scratches=tuple(_scratches(root)))


def _scratches(root: etree._Element) -> cabc.Iterator[tuple[str, str]]:
    for disk in root.findall('./disks/disk'):
        scratch = disk.find('./scratch')
        if disk.get('backup', 'yes') == 'yes' and scratch is not None:
            yield disk.get('name', ''), scratch.get('file', '')
