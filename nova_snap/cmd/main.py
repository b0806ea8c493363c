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

"""The nova-snap command: arguments, exit codes, signals."""

import argparse
import collections.abc as cabc
import enum
import importlib.metadata
import logging
import os
import re
import shlex
import sys
import typing as ty

from nova_snap.cmd import cancellation
from nova_snap.cmd import check
from nova_snap.cmd import configuration as configuration_module
from nova_snap.cmd import image_create
from nova_snap.cmd import image_delete
from nova_snap.cmd import instances
from nova_snap.cmd import records
from nova_snap.cmd import runtime as runtime_module
from nova_snap.cmd import show
from nova_snap.conf import files as conf_files
from nova_snap import errors
from nova_snap.model import observer as observer_module
from nova_snap.model import phase as phase_model

DESCRIPTION = 'Snapshots of libvirt/QEMU instances, left as images in Glance.'

# The words of the kernel, of libvirt's socket and of polkit.
DENIED = re.compile('permission denied|not permitted|access denied'
                    '|authentication (failed|unavailable)', re.IGNORECASE)

EPILOG = """\
examples:
  nova-snap check                       is this node ready?
  nova-snap list                        what would a snapshot of each do?
  nova-snap image-create --dry-run VM1 nightly
  nova-snap image-create VM1 nightly    take it
  nova-snap image-create --all-disks VM1 nightly
  nova-snap image-delete IMAGE          a volume-backed one or a set, all of it
  nova-snap status                      what is under way, what was left?
  nova-snap recover                     settle what a killed process left

Options are read from the files that nova-compute reads; --config-file names
others. Glance and Cinder are reached with the OS_* variables (or OS_CLOUD),
else with the credentials in [nova_snap], else, for Cinder, with those in
[cinder], else with those in [service_user].

exit codes:
  0  done; an image that is there is a 0 even if that cannot be printed
  1  failed; the guest is as it was and nothing is left
  2  wrong arguments or a bad option in nova.conf
  3  refused before anything was touched
  4  something could not be put back; "nova-snap recover" tries again
  130  cancelled; the guest is as it was and nothing is left
  141  what is printed has no reader, as in "nova-snap list | head -0"
"""


class ExitCode(enum.IntEnum):
    """What the command ends with."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    LEFT = 4
    CANCELLED = 130
    # As of those that SIGPIPE ends.
    UNREAD = 141


class Subcommand(ty.NamedTuple):
    """A word of the command line and what it does."""

    help: str
    add_arguments: cabc.Callable[[argparse.ArgumentParser], None]
    run: cabc.Callable[[argparse.Namespace, runtime_module.Runtime], None]


SUBCOMMANDS = {
    'image-create': Subcommand(
        'take a snapshot of an instance and leave an image in Glance',
        image_create.add_arguments, image_create.run),
    'image-delete': Subcommand(
        'delete a volume-backed image with the snapshots it names, or a set '
        'of images',
        image_delete.add_arguments, image_delete.run),
    'list': Subcommand(
        'list the instances and what a snapshot of each would do',
        instances.add_arguments, instances.run),
    'status': Subcommand(
        'list what is under way or was left by a killed process',
        records.add_status_arguments, records.run_status),
    'recover': Subcommand(
        'settle what a killed process left',
        records.add_recover_arguments, records.run_recover),
    'check': Subcommand(
        'say in words whether this node is ready',
        check.add_arguments, check.run),
}


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=runtime_module.PROGRAM, description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--version', action='version',
        version=importlib.metadata.version('nova_snap'))
    conf_files.add_arguments(parser)
    parser.add_argument('-q', '--quiet', action='store_true',
                        help='show no progress')
    parser.add_argument('-v', '--verbose', action='store_true',
                        help='say what is done to the guest')
    parser.add_argument('--debug', action='store_true',
                        help='say every step and every request')
    words = parser.add_subparsers(dest='subcommand', required=True,
                                  metavar='COMMAND')
    for word, subcommand in SUBCOMMANDS.items():
        subcommand.add_arguments(words.add_parser(
            word, help=subcommand.help, description=subcommand.help))
    return parser


def main(argv: cabc.Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    show.open_closed()
    try:
        return _run(make_parser().parse_args(argv))
    finally:
        show.drop_unwritten()


class Watch(observer_module.Observer):
    """Shows an operation to the operator, and lets it be cancelled."""

    def __init__(self, progress: show.Progress,
                 stop: cancellation.Cancellation) -> None:
        self._progress = progress
        self._stop = stop

    def begins(self, phase: phase_model.Phase) -> None:
        self._progress.begins(phase)

    def advances(self, done: int, total: int) -> None:
        self._progress.advances(done, total)

    def before_commit(self) -> None:
        """Take no cancellation any more.

        :raises KeyboardInterrupt: when one was asked for before
        """
        self._stop.forbid()
        self._progress.complete()


def _run(arguments: argparse.Namespace) -> ExitCode:
    _set_up_logging(arguments)
    progress = show.Progress(quiet=arguments.quiet)
    stop = cancellation.Cancellation()

    try:
        with stop:
            runtime = runtime_module.Runtime(
                configuration_module.read(arguments),
                Watch(progress, stop))
            SUBCOMMANDS[arguments.subcommand].run(arguments, runtime)
    except KeyboardInterrupt:
        progress.end()
        return _say(ExitCode.CANCELLED, 'cancelled; the guest is as it was')
    except errors.SnapError as exc:
        progress.end()
        if isinstance(exc, show.OutputLost) and exc.is_unread:
            return ExitCode.UNREAD
        return _say(_exit_code(exc), _with_sudo(str(exc)))
    progress.end()
    return ExitCode.DONE


def _with_sudo(words: str) -> str:
    """Add how to become root to what was denied to another user.

    Others may do all of it: with access to libvirt, to the disks and to the
    journal.
    """
    if os.geteuid() == 0 or not DENIED.search(words):
        return words
    program, *arguments = sys.argv
    # sudo has a PATH of its own.
    line = shlex.join(['sudo', os.path.abspath(program), *arguments])
    return f'{words}. You are not root; try: {line}'


def _exit_code(exc: errors.SnapError) -> ExitCode:
    if isinstance(exc, errors.ConfigError):
        return ExitCode.USAGE
    if isinstance(exc, errors.RollbackIncomplete):
        return ExitCode.LEFT
    if isinstance(exc, errors.Refused):
        return ExitCode.REFUSED
    return ExitCode.FAILED


def _say(code: ExitCode, words: str) -> ExitCode:
    show.say(f'{runtime_module.PROGRAM}: {words}')
    return code


def _set_up_logging(arguments: argparse.Namespace) -> None:
    level = (logging.DEBUG if arguments.debug
             else logging.INFO if arguments.verbose else logging.WARNING)
    logging.basicConfig(
        stream=sys.stderr, level=level,
        format='%(asctime)s %(levelname)s %(name)s %(message)s')
    if not arguments.debug:
        # Each retry is said once, by us.
        logging.getLogger('urllib3').setLevel(logging.ERROR)


if __name__ == '__main__':
    sys.exit(main())
