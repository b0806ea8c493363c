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

"""Other programs of this host."""

import collections.abc as cabc
import dataclasses
import os
import pathlib
import re

PROC = pathlib.Path('/proc')
NOVA_COMPUTE = 'nova-compute'
NOVA_COMPUTE_MODULE = 'nova.cmd.compute'

# Options of the Python interpreter whose value may be the next word. Letters
# without one may stand before them, in the same word.
# :source: Python/getopt.c SHORT_OPTS, longopts
OPTION_WITH_VALUE = re.compile(
    r'-[^-cmWX]*(?P<option>[cmWX])(?P<value>.*)', re.DOTALL)
LONG_OPTIONS_WITH_VALUE = frozenset(('--check-hash-based-pycs',))

# The second one is effective.
# :source: proc(5), /proc/pid/status
UIDS = re.compile(r'^Uid:\t\d+\t(?P<uid>\d+)', re.MULTILINE)

# On the threading backend of oslo.service the whole command line is a title.
# :source: cotyledon, ServiceManager.__init__
TITLE = re.compile(r'(?P<name>[^:]*): master process \[(?P<line>.*)\]',
                   re.DOTALL)


# The namespace that has all processes of a host.
# :source: Linux include/uapi/linux/nsfs.h PID_NS_INIT_INO (0xEFFFFFFC)
PIDS_OF_HOST = 'pid:[4026531836]'


@dataclasses.dataclass(frozen=True)
class NovaCompute:
    """A nova-compute of this host.

    :ivar interpreter: the Python it was started with, or '' where that is
        not told
    :ivar program: the file it was started from, or '' likewise
    :ivar arguments: what its command line has after the program; None where
        its title tells nothing of it
    """

    pid: int
    interpreter: str = ''
    program: str = ''
    arguments: tuple[str, ...] | None = None

    @property
    def is_in_container(self) -> bool | None:
        """Tell whether its file system is not ours; None if not told.

        A unit of systemd may have a mount namespace of its own, with the
        same root.
        """
        try:
            return not os.path.samestat(
                os.stat('/'), os.stat(PROC / str(self.pid) / 'root'))
        except OSError:
            return None

    @property
    def uid(self) -> int | None:
        """Return whose process it is; None if not told.

        Any user can start one that looks like a nova-compute.
        """
        try:
            status = (PROC / str(self.pid) / 'status').read_text()
        except OSError:
            return None
        said = UIDS.search(status)
        return None if said is None else int(said['uid'])

    @property
    def directory(self) -> str:
        """Return where it looks for what has no full path."""
        try:
            return os.readlink(PROC / str(self.pid) / 'cwd')
        except OSError:
            return '/'


def nova_computes() -> list[NovaCompute]:
    """Return every nova-compute on this host that we can see.

    One in a container is seen as well.
    """
    return list(_nova_computes())


def nova_compute_runs() -> bool:
    """Tell whether a nova-compute runs on this host, or may run.

    A container sees its own processes alone: unknown is no "no".
    """
    return not sees_host() or next(_nova_computes(), None) is not None


def sees_host() -> bool:
    """Tell whether we see all processes of this host.

    :source: pid_namespaces(7)
    """
    try:
        return os.readlink(PROC / 'self' / 'ns' / 'pid') == PIDS_OF_HOST
    except OSError:
        return False


def _nova_computes() -> cabc.Iterator[NovaCompute]:
    for command_line in PROC.glob('[0-9]*/cmdline'):
        try:
            words = os.fsdecode(command_line.read_bytes()).split('\0')
        except OSError:
            # It ended between the two looks.
            continue
        if len(words) > 1 and not words[-1]:
            # Each word ends with a NUL.
            words.pop()
        found = _recognise(int(command_line.parent.name), words)
        if found is not None:
            yield found


def _recognise(pid: int, words: list[str]) -> NovaCompute | None:
    """Recognise it by its command line.

    It is a Python program, and some distributions start it with options of
    the interpreter (``python3 -s /usr/bin/nova-compute``).
    """
    first, *rest = words
    if _is_its_name(first):
        return NovaCompute(pid, program=first, arguments=tuple(rest))
    # Also platform-python3.
    if 'python' in pathlib.PurePath(first).name:
        program, arguments = _program(rest)
        if program == NOVA_COMPUTE_MODULE:
            return NovaCompute(pid, first, '', tuple(arguments))
        if _is_its_name(program):
            return NovaCompute(pid, first, program, tuple(arguments))
    return _titled(pid, first)


def _titled(pid: int, title: str) -> NovaCompute | None:
    found = TITLE.fullmatch(title)
    if found is not None and _is_its_name(found['name']):
        program, *arguments = found['line'].split(' ')
        return NovaCompute(pid, program=program, arguments=tuple(arguments))
    name, colon, _ = title.partition(':')
    # A child of it, or one whose title was cut.
    return NovaCompute(pid) if colon and _is_its_name(name) else None


def _is_its_name(path: str) -> bool:
    return pathlib.PurePath(path).name == NOVA_COMPUTE


def _program(words: list[str]) -> tuple[str, list[str]]:
    """Return the file or the module that an interpreter was told to run.

    :param words: of its command line, without its own name
    :returns: '' where it runs neither; and the words for the program
    """
    left = iter(words)
    for word in left:
        if not word.startswith('-'):
            return word, list(left)
        if word in LONG_OPTIONS_WITH_VALUE:
            next(left, '')
        if word.startswith('--'):
            continue
        found = OPTION_WITH_VALUE.fullmatch(word)
        if found is None:
            continue
        value = found['value'] or next(left, '')
        if found['option'] in 'cm':
            # What follows belongs to the program.
            return (value if found['option'] == 'm' else ''), list(left)
    return '', []
