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


def nova_compute_runs() -> bool:
    """Tell whether a nova-compute runs on this host.

    One in a container is seen as well.
    """
    for command_line in PROC.glob('[0-9]*/cmdline'):
        try:
            words = command_line.read_text(errors='replace').split('\0')
        except OSError:
            # It ended between the two looks.
            continue
        if _is_nova_compute(words):
            return True
    return False


def _is_nova_compute(words: list[str]) -> bool:
    """Recognise it by its command line.

    It is a Python program, and some distributions start it with options of
    the interpreter (``python3 -s /usr/bin/nova-compute``). On the threading
    backend of oslo.service the whole line is a title instead,
    ``nova-compute: master process [...]``.

    :source: cotyledon, ServiceManager.__init__
    """
    first, *rest = words
    title, _, _ = first.partition(':')
    if pathlib.PurePath(title).name == NOVA_COMPUTE:
        return True
    # Also platform-python3.
    if 'python' not in pathlib.PurePath(first).name:
        return False
    program = _program(rest)
    return (program == NOVA_COMPUTE_MODULE
            or pathlib.PurePath(program).name == NOVA_COMPUTE)


def _program(words: list[str]) -> str:
    """Return the file or the module that an interpreter was told to run.

    :param words: of its command line, without its own name
    :returns: '' where it runs neither
    """
    left = iter(words)
    for word in left:
        if not word.startswith('-'):
            return word
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
            return value if found['option'] == 'm' else ''
    return ''
