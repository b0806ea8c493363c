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

"""nova-snap image-delete"""

import argparse
import sys

from nova_snap.cmd import runtime as runtime_module
from nova_snap.cmd import show
from nova_snap import errors
from nova_snap.flows import image_delete as image_delete_flow

QUESTION = 'Delete all of this? [y/N] '
YES = frozenset(('y', 'yes'))


EPILOG = ('Where it ends with 1 something is left, and the image names it: '
          'run it again.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what image-delete takes."""
    parser.epilog = EPILOG
    parser.add_argument('image', metavar='IMAGE',
                        help='id of a volume-backed image, or of one of a set '
                             '(--all-disks), as image-create prints it')
    parser.add_argument('--yes', action='store_true',
                        help='do not ask; without a terminal nothing is '
                             'deleted otherwise')
    parser.add_argument('--json', action='store_true',
                        help='print the result for a program to read')


def run(arguments: argparse.Namespace,
        runtime: runtime_module.Runtime) -> None:
    """Show what will be deleted, ask, and delete it.

    :raises Refused: when it must not be deleted, or the answer is no
    :raises SnapError: as :func:`nova_snap.flows.image_delete.run`
    :raises OutputLost: when it cannot be shown what would be deleted
    """
    node = runtime.node(signed_in=True)
    deletion = image_delete_flow.plan(node.world, arguments.image)
    if not arguments.json:
        show.out('\n'.join(deletion.sentences()))
    if not arguments.yes:
        _ask()
    image_delete_flow.run(node.world, deletion)
    with show.report('\n'.join(f'Image {image.image_id} is deleted'
                               for image in deletion.images)):
        if arguments.json:
            show.as_json({
                'image': deletion.image.image_id,
                'images': [image.image_id for image in deletion.images],
                'volume_snapshots': [one.snapshot_id
                                     for one in deletion.snapshots],
                'gone_before': [*deletion.gone, *deletion.disks_gone]})
        else:
            show.out('deleted')


def _ask() -> None:
    """Ask the operator.

    :raises Refused: when there is no terminal to ask at, or the answer is no
    """
    if not sys.stdin.isatty():
        raise errors.Refused(
            reason='Nothing is deleted: there is no terminal to ask at. Say '
                   '--yes if all of this is to go')
    show.ask(QUESTION)
    if sys.stdin.readline().strip().lower() not in YES:
        raise errors.Refused(reason='Nothing is deleted')
