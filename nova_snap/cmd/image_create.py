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

"""nova-snap image-create"""

import argparse
import dataclasses
import os
import sys
import typing as ty
import uuid

from nova_snap.cmd import runtime as runtime_module
from nova_snap.cmd import show
from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.flows import snapshot
from nova_snap.hypervisor import host as host_module
from nova_snap.model import image as image_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model.plan import volumes as volumes_plan
from nova_snap.model import request as request_model
from nova_snap.model import result as result_model
from nova_snap.steps import world as world_module
from nova_snap import units

EPILOG = ('An INSTANCE or a NAME that begins with "-" comes after "--": '
          'nova-snap image-create --json -- INSTANCE -NAME')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what image-create takes."""
    parser.epilog = EPILOG
    parser.add_argument('instance', metavar='INSTANCE', type=_text,
                        help='libvirt name or UUID (Nova\'s UUID is the '
                             'same one)')
    parser.add_argument('name', metavar='NAME', type=_text,
                        help='name of the image in Glance, of at most '
                             f'{plan_model.IMAGE_NAME_LENGTH} characters')
    _add_disks(parser)
    parser.add_argument('--dry-run', action='store_true',
                        help='say what would be done, and do nothing')
    parser.add_argument('--format', choices=plan_model.IMAGE_FORMATS,
                        help='disk format of the image (default: '
                             '[libvirt]snapshot_image_format, else that of '
                             'the disk)')
    parser.add_argument('--cold', action='store_true',
                        help='save the guest, read its disk, start it again; '
                             'it stands still for that time')
    parser.add_argument('--quiesce', choices=('want', 'require'),
                        help='freeze the guest\'s file systems through its '
                             'agent; "require" fails where that cannot be '
                             '(default: what the image says)')
    parser.add_argument('--property', metavar='KEY=VALUE', action='append',
                        default=[], type=_property,
                        help='a property for the image; may be repeated')
    parser.add_argument('--nova-is-stopped', action='store_true',
                        help='no Nova will act on a guest of Nova\'s that '
                             'stops for a cold snapshot')
    parser.add_argument('--json', action='store_true',
                        help='print the result for a program to read')


def _add_disks(parser: argparse.ArgumentParser) -> None:
    disks = parser.add_mutually_exclusive_group()
    disks.add_argument('--disk', metavar='TARGET', type=_text,
                       help='take this disk, as libvirt names its target '
                            '("vdb"), instead of the root disk')
    disks.add_argument('--all-disks', action='store_true',
                       help='take all disks of this host as they are at one '
                            'moment, without volumes; the image of the root '
                            'disk has the NAME, that of another disk '
                            'NAME-TARGET')


def _text(word: str) -> str:
    """Take a word that libvirt and Glance can be told.

    Bytes that are no text in the locale's encoding reach us as surrogates.

    :source: Python, PEP 383
    """
    try:
        word.encode()
    except UnicodeEncodeError as exc:
        raise argparse.ArgumentTypeError(
            f'{os.fsencode(word)!r} is not valid '
            f'{sys.getfilesystemencoding().upper()}') from exc
    return word


def _property(text: str) -> tuple[str, str]:
    key, equals, value = _text(text).partition('=')
    if not key or not equals:
        raise argparse.ArgumentTypeError(f'{text!r} is not KEY=VALUE')
    return key, value


def run(arguments: argparse.Namespace,
        runtime: runtime_module.Runtime) -> None:
    """Take a snapshot and say what was made.

    :raises SnapError: as :func:`nova_snap.flows.snapshot.take`
    :raises OutputLost: when a plan cannot be printed
    """
    node = runtime.node(signed_in=not arguments.dry_run)
    request = request_model.Request(
        instance_uuid=_uuid(node.world.host, arguments.instance),
        images=(request_model.RequestedImage(str(uuid.uuid4()),
                                             arguments.name),),
        set_id=str(uuid.uuid4()) if arguments.all_disks else None,
        disk=arguments.disk, image_format=arguments.format,
        cold=arguments.cold, quiesce=arguments.quiesce,
        nova_is_stopped=arguments.nova_is_stopped,
        properties=dict(arguments.property))
    if arguments.dry_run:
        _show_plan(_plan(node, request), arguments.json)
        return
    started = node.world.clock.monotonic()
    result = snapshot.take(node, request)
    seconds = node.world.clock.monotonic() - started
    with show.report('\n'.join(f'Image {image.image_id} is {image.status}'
                               for image in result.images)):
        if arguments.json:
            show.as_json(_describe(result, seconds))
        else:
            show.out(_words(result, seconds))


def _uuid(host: host_module.Host, instance: str) -> str:
    """Return the UUID of an instance, which may be named by it.

    :raises InstanceNotFound: when libvirt knows none
    """
    try:
        return host.lookup(instance).uuid
    except errors.DomainGone as exc:
        raise errors.InstanceNotFound(
            instance=instance, uri=host.connection.uri) from exc


def _plan(node: world_module.Node, request: request_model.Request) -> (
        plan_model.Plan | volumes_plan.VolumePlan):
    """Say what would be done, and what the journal has of this instance.

    :raises InstanceBusy: also when a snapshot of it is under way
    :raises SnapError: as :func:`nova_snap.flows.snapshot.dry_run`
    """
    said = recovery.remarks(
        recovery.status(node), node.world.host.domain(request.instance_uuid))
    try:
        plan = snapshot.dry_run(node, request)
    except errors.InstanceBusy as exc:
        raise errors.InstanceBusy(
            instance=exc.instance,
            reason='; '.join((exc.reason, *said))) from exc
    return dataclasses.replace(plan, remarks=plan.remarks + said)


def _show_plan(plan: plan_model.Plan | volumes_plan.VolumePlan,
               as_json: bool) -> None:
    if as_json:
        show.as_json(plan)
    else:
        show.out('\n'.join(plan.sentences()))


def _describe(result: result_model.Result,
              seconds: float) -> dict[str, ty.Any]:
    described: dict[str, ty.Any] = {
        'images': [{**dataclasses.asdict(image),
                    'properties': dict(image.properties)}
                   for image in result.images],
        'method': result.plan.method,
        'consistency': result.consistency,
        'seconds': round(seconds, 2),
        'remarks': list(result.plan.remarks),
    }
    for name in ('frozen_seconds', 'scratch_bytes', 'written'):
        if getattr(result, name) is not None:
            described[name] = getattr(result, name)
    if result.volume_snapshots:
        described['volume_snapshots'] = list(result.volume_snapshots)
    return described


def _words(result: result_model.Result, seconds: float) -> str:
    return '\n'.join(
        [_image(image, result, seconds) for image in result.images]
        + ([f'written: {result.written}'] if result.written else [])
        + _volumes(result))


def _image(image: image_model.Image, result: result_model.Result,
           seconds: float) -> str:
    # Compared with what was sent: an active image has a size.
    assert image.size is not None
    words = (f'Image {image.image_id} ({image.name}) is {image.status}: '
             f'{image.disk_format}, {units.format_bytes(image.size)}, '
             f'{result.plan.method} in {seconds:.1f} s, file systems '
             f'{result.file_systems}')
    if result.volume_snapshots:
        # The hash would be that of nothing.
        return words
    return (f'{words}\n{image.hash_algo or "md5"} '
            f'{image.hash_value or image.checksum}')


def _volumes(result: result_model.Result) -> list[str]:
    if not result.volume_snapshots:
        return []
    return ['snapshots of volumes: ' + ', '.join(result.volume_snapshots)]
