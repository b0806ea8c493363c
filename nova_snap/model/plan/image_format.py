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

"""Which format an image has."""

import shlex

from nova_snap.model import first_bytes as first_bytes_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import request as request_model
from nova_snap.model import settings as settings_model

RAW, QCOW2 = 'raw', 'qcow2'


def named(request: request_model.Request,
          settings: settings_model.Settings) -> str | None:
    """Return the format that the operator has named; None for none."""
    return request.image_format or settings.snapshot_image_format


def that_glance_takes(instance: str, image: plan_model.PlannedImage,
                      first: bytes | None) -> tuple[str, tuple[str, ...]]:
    """Return the format to send an image in, and what to say of it.

    One that the operator has named is not changed.

    :param instance: its name
    :param first: how the disk begins; None where that is not known
    """
    why = None
    if first is not None and image.image_format == RAW:
        why = first_bytes_model.why_refused(first)
    if why is None:
        return image.image_format, ()
    what = ('Glance may refuse a raw image of disk '
            f'{image.disk.target_dev} ({why}): ')
    if image.is_format_named:
        return RAW, (f'{what}if it does, {as_qcow2(instance, image)}',)
    return QCOW2, (what + 'the image is made in qcow2',)


def as_qcow2(instance: str, image: plan_model.PlannedImage) -> str:
    """Say what is to be done for an image in another format than raw.

    :param instance: its name
    """
    if image.made_by == request_model.Party.NOVA:
        return ('set [libvirt]snapshot_image_format = qcow2 in nova.conf and '
                'restart nova-compute')
    name = image.name
    if image.place is not None and not image.disk.is_root:
        name = name.removesuffix(f'-{image.place.disk}')
    command = ['nova-snap', 'image-create', instance, name,
               '--format', 'qcow2']
    if image.place is not None:
        command += ['--all-disks']
    elif not image.disk.is_root:
        command += ['--disk', image.disk.target_dev]
    return f'run "{shlex.join(command)}"'


def remarks_on_headers(facts: plan_model.Facts) -> tuple[str, ...]:
    """Say which formats are not the obvious ones."""
    return (*(
        f'disk {found.disk.target_dev} begins as a qcow2 file does, but is '
        'raw in its XML: it is taken as the guest sees it'
        for found in facts.disks
        if found.disk.driver_format == RAW and found.first is not None
        and first_bytes_model.is_qcow2(found.first)), *(
        f'no header names the format of {found.recognised.path}: it lies in '
        f'the image cache of Nova, and is taken as {found.recognised.format}, '
        'as it begins'
        for found in facts.disks if found.recognised))
