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

"""Where the command has its options from."""

import argparse
import itertools
import os
import typing as ty

from oslo_config import cfg

from nova_snap import conf as conf_module
from nova_snap.conf import files as conf_files
from nova_snap import errors
from nova_snap.host import processes
from nova_snap import lookup
from nova_snap.model import remedy

# Where an operator puts it.
CONFIGURATION = '/etc/'


class Configuration(ty.NamedTuple):
    """The options, and the files that they are from.

    :ivar files: in the order in which they are read: the last wins
    :ivar whose: says in words why it is these
    :ivar away: the PID of a nova-compute in a container, if these are not
        its files and the command line does not name them either
    """

    conf: cfg.ConfigOpts
    files: list[str]
    whose: str
    away: int | None = None


def read(arguments: argparse.Namespace) -> Configuration:
    """Read what the command line names, else what nova-compute reads.

    :raises ConfigError: when a file is missing or cannot be parsed, or when
        it is not clear which are meant
    """
    conf = cfg.ConfigOpts()
    conf_module.register_opts(conf)
    if arguments.config:
        named = conf_files.of_nova_compute(arguments.config)
        whose, away = 'as the command line says', None
    else:
        running = processes.nova_computes()
        of_running, whose = _of_running(running)
        _refuse_anothers(running, of_running)
        named = conf_files.of_nova_compute(of_running) + conf_files.own()
        here = [one for one in running if not one.is_in_container]
        away = running[0].pid if running and not here else None
    conf_files.read(conf, named)
    return Configuration(conf, conf_files.paths(named), whose, away)


def _of_running(running: list[processes.NovaCompute]) -> tuple[
        list[conf_files.Named], str]:
    """Return what the nova-compute of this host names, if there is one.

    The files of one in a container are others than ours of the same name.
    """
    named = {one.pid: conf_files.of_command_line(one.arguments, one.directory)
             for one in running
             if one.arguments is not None and one.is_in_container is False}
    if not named:
        return [], 'as a nova-compute with no arguments reads them'
    first, *others = named
    for other in others:
        if named[other] != named[first]:
            raise errors.ConfigError(
                option=conf_files.FILE,
                reason=f'the nova-computes with the PIDs {first} and {other} '
                       'read different files. Name those that are meant, as '
                       f'on the command line of one of them: {_show(named)}')
    return named[first], f'as nova-compute (PID {first}) reads them'


def _refuse_anothers(running: list[processes.NovaCompute],
                     named: list[conf_files.Named]) -> None:
    """Refuse, as root, files that another user has named and can change.

    Any user can start a process that looks like a nova-compute, and what
    these files say is done by root. Below /etc lies what an operator has put
    there, also where it belongs to the user of nova-compute.

    :raises ConfigError: naming the one, and how to name it
    """
    if os.geteuid() or all(one.uid == 0 for one in running):
        return
    paths = [path for _, path in named] + conf_files.paths(named)
    for path in paths:
        if not (os.path.normpath(path).startswith(CONFIGURATION)
                or lookup.is_roots(path)):
            raise errors.ConfigError(
                option=conf_files.FILE,
                reason=f'{path} is missing, or other users than root can '
                       'change it, and only a process that looks like '
                       'nova-compute names it. If it is yours: '
                       + remedy.command('nova-snap', *itertools.chain(*named),
                                        'check'))


def _show(named: dict[int, list[conf_files.Named]]) -> str:
    return '; '.join(
        ' '.join(word for one in found for word in one)
        or f'(PID {pid} names none)' for pid, found in named.items())
