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

"""Boot a second guest from an image and ask what it finds."""

import dataclasses
import pathlib
import re
import shutil
import typing as ty
import uuid as uuidlib

from tests.lab import errors
from tests.lab.guest import disk as guest_disk
from tests.lab.guest import domain as guest_domain
from tests.lab import hypervisor
from tests.lab import place


@dataclasses.dataclass(frozen=True)
class Found:
    """What a guest said of the disk it was booted from.

    :ivar recovered: ext4 had to replay its journal
    :ivar data_ok: every file has the content it was made with
    :ivar records: the number that follows the last record
    :ivar records_ok: each slot of the ring holds the newest record that
        belongs there, and nothing where there is none yet
    """

    mounted: bool
    recovered: bool
    errors: bool
    data_ok: bool
    records: int
    records_ok: bool


def boot_copy(libvirtd: hypervisor.Libvirtd, image: pathlib.Path | str,
              fmt: str) -> Found:
    """Boot a guest from an image; the image itself is not written to.

    The guest and its files are gone afterwards.

    :raises LabError: when it does not boot; its console is in the message
    """
    uuid = str(uuidlib.uuid4())
    folder = place.make_dir(libvirtd.run_dir / 'instances' / uuid)
    top = folder / 'disk'
    try:
        guest_disk.make_overlay(top, pathlib.Path(image).resolve(), fmt)
        guest = guest_domain.Guest(
            libvirtd,
            guest_domain.Spec(
                name=f'copy-{uuid[:8]}',
                uuid=uuid,
                quiet=True,
                disk=guest_disk.Disk(top, 'qcow2'),
                console=folder / 'console.log',
            ),
        )
        try:
            guest.define().start()
            guest.wait_for('^GUEST ready')
            return parse(guest.console())
        finally:
            guest.remove()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parse(console: str) -> Found:
    """Read what a guest found, from its console.

    :raises LabError: when a line is missing
    """
    def said(pattern: str) -> re.Match[str]:
        match = re.search(rf'^GUEST {pattern}\r?$', console, re.MULTILINE)
        if match is None:
            raise errors.LabError(f'the guest did not say "{pattern}": '
                                  f'{console}')
        return match

    records = said(r'records (\d+) (ok|bad) stray -?\d+')
    return Found(
        mounted=said('ext4 (mounted|failed)')[1] == 'mounted',
        recovered=said('ext4 recovered (yes|no)')[1] == 'yes',
        errors=said('ext4 errors (yes|no)')[1] == 'yes',
        data_ok=said('data (ok|bad)')[1] == 'ok',
        records=int(records[1]), records_ok=records[2] == 'ok')


def assert_boots(libvirtd: hypervisor.Libvirtd, image: pathlib.Path | str,
                 fmt: str, **wanted: ty.Any) -> Found:
    """Prove that a guest boots from an image and finds all as it must be.

    :param wanted: fields of :class:`Found` beyond those that always hold,
        as ``recovered=False`` for an image of a frozen guest
    :raises ProofFailed: naming what it found instead
    """
    found = boot_copy(libvirtd, image, fmt)
    wanted = {'mounted': True, 'errors': False, 'data_ok': True,
              'records_ok': True, **wanted}
    wrong = {name: getattr(found, name) for name, value in wanted.items()
             if getattr(found, name) != value}
    if wrong:
        raise errors.ProofFailed(f'a guest booted from {image} found {wrong}'
                                 f' (all: {found})')
    return found
