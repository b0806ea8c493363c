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

"""The files that nova-compute reads, in nova-compute's order.

A value in a later file wins. Debian's nova-compute reads nova-compute.conf
after nova.conf.

:source: nova/config.py parse_args; oslo_config/cfg.py _parse_config_files
"""

import argparse
import collections.abc as cabc
import contextlib
import glob
import itertools
import os
import typing as ty

from oslo_config import cfg

from nova_snap import errors

PROJECT = 'nova'
NOVA_COMPUTE = 'nova-compute'
# What only the command reads, after all others.
PROGRAM = 'nova-snap'

FILE = '--config-file'
DIRECTORY = '--config-dir'


class Named(ty.NamedTuple):
    """A file or a directory that a command line names.

    :ivar option: FILE or DIRECTORY
    """

    option: str
    path: str


class Setting(ty.NamedTuple):
    """What one file says of an option."""

    file: str
    value: str


class _Append(argparse.Action):
    """Keep files and directories in one list: their order counts."""

    def __call__(self, parser: argparse.ArgumentParser,
                 namespace: argparse.Namespace, values: ty.Any,
                 option_string: str | None = None) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest,
                [*before, Named(self.option_strings[0], values)])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what names files, in any program of OpenStack.

    They come as ``config``, a list of :class:`Named`.
    """
    parser.add_argument(
        FILE, dest='config', metavar='PATH', action=_Append, default=[],
        help='read options from here (default: what the running '
             'nova-compute reads, else what it would read; then '
             'nova-snap.conf); may be repeated')
    parser.add_argument(
        DIRECTORY, dest='config', metavar='DIR', action=_Append, default=[],
        help='read options from the *.conf files in here; may be repeated')


def of_command_line(arguments: cabc.Sequence[str],
                    directory: str) -> list[Named]:
    """Return what the command line of a nova-compute names.

    :param arguments: without the program
    :param directory: where it looks for what has no full path
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    add_arguments(parser)
    try:
        known, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError:
        # An option without its path: nova-compute has refused it too.
        return []
    return [Named(option, os.path.join(directory, path))
            for option, path in known.config]


def of_nova_compute(named: cabc.Sequence[Named]) -> list[Named]:
    """Return everything that a nova-compute reads, in its order.

    :param named: what its command line names; the usual places are read for
        what it does not name
    """
    options = {option for option, _ in named}
    return [*(Named(FILE, path)
              for path in cfg.find_config_files(PROJECT, NOVA_COMPUTE)
              if FILE not in options),
            *(Named(DIRECTORY, path)
              for path in cfg.find_config_dirs(PROJECT, NOVA_COMPUTE)
              if DIRECTORY not in options),
            *named]


def own() -> list[Named]:
    """Return what only the command reads."""
    return [*(Named(FILE, path)
              for path in cfg.find_config_files(PROJECT, PROGRAM)
              if os.path.basename(path) == f'{PROGRAM}.conf'),
            *(Named(DIRECTORY, path)
              for path in cfg.find_config_dirs(PROJECT, PROGRAM)
              if os.path.basename(path) == f'{PROGRAM}.conf.d')]


def read(conf: cfg.ConfigOpts, named: cabc.Sequence[Named]) -> None:
    """Read these files, and no others.

    :raises ConfigError: when one is missing or cannot be parsed
    """
    with _naming_files():
        conf(list(itertools.chain.from_iterable(named)), project=PROJECT,
             prog=PROGRAM, default_config_files=[], default_config_dirs=[])


def paths(named: cabc.Iterable[Named]) -> list[str]:
    """Return the files, those of directories too, in their order."""
    return [os.path.abspath(os.path.expanduser(path))
            for option, named_path in named
            for path in ([named_path] if option == FILE else sorted(
                glob.glob(os.path.join(named_path, '*.conf'))))]


def settings_of(files: cabc.Iterable[str], group: str,
                names: cabc.Collection[str]) -> dict[str, list[Setting]]:
    """Return what each file says of these options; the last wins.

    Each file is read alone: oslo.config knows which file was the last to
    have a group, not which was the last to have an option.

    :param files: which :func:`read` has read
    :returns: by the name of an option; only those that are set
    :raises ConfigError: when a file has gone since then
    :source: oslo_config/cfg.py _Namespace._sections_to_file
    """
    found: dict[str, list[Setting]] = {}
    for path in files:
        sections: dict[str, dict[str, list[str]]] = {}
        with _naming_files():
            cfg.ConfigParser(path, sections).parse()
        for name, values in sections.get(group, {}).items():
            if name in names:
                found.setdefault(name, []).append(Setting(path, values[-1]))
    return found


@contextlib.contextmanager
def _naming_files() -> cabc.Iterator[None]:
    try:
        yield
    except (cfg.Error, OSError) as exc:
        raise errors.ConfigError(option=FILE, reason=str(exc)) from exc
