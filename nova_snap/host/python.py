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

"""Another Python of this host: where its Nova lies, and whether it is ours.

Nova imports ``nova.virt.<compute_driver>`` and nothing else, and finds only
what lies in the folder it was itself imported from.
"""

import dataclasses
import json
import os
import pwd
import shutil
import subprocess
import typing as ty

from nova_snap import lookup

# Importing Nova's empty packages takes far less, also on a busy node.
TIMEOUT_SECONDS = 30

# Run by the other Python, which has nothing of ours.
QUESTION = """
import importlib.util, json, os, sys, sysconfig
def is_found(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
folder = None
if is_found('nova.compute'):
    folder = next(iter(
        importlib.util.find_spec('nova').submodule_search_locations))
print(json.dumps({
    'nova': folder,
    'has_shim': bool(folder) and is_found('nova.virt.nova_snap'),
    'is_managed': sys.prefix == sys.base_prefix and os.path.exists(
        os.path.join(sysconfig.get_path('stdlib'), 'EXTERNALLY-MANAGED'))}))
"""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a Python has of Nova.

    :ivar nova: the folder of Nova; None where there is none, or but our
        shim, which alone makes an empty ``nova`` importable
    :ivar has_shim: Nova finds our driver
    :ivar is_managed: pip refuses to install there unless it is asked twice
    :source: PEP 668
    """

    nova: str | None
    has_shim: bool
    is_managed: bool


def ask(interpreter: str, uid: int = 0) -> Found | None:
    """Ask a Python where its Nova lies.

    Root asks the Python of another user as that user, who may have put
    anything there, and shows it none of its own variables.

    :param interpreter: its path
    :param uid: whose it is
    :returns: None where it does not answer
    """
    user: dict[str, ty.Any] = {}
    if uid and os.geteuid() == 0:
        user = {'user': uid, 'group': _group(uid), 'extra_groups': (),
                'env': {'PATH': os.defpath}, 'cwd': '/'}
    try:
        answer = subprocess.run(
            [interpreter, '-I', '-c', QUESTION], check=True,
            timeout=TIMEOUT_SECONDS, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **user).stdout
        return Found(**json.loads(answer))
    except (OSError, subprocess.SubprocessError, TypeError, ValueError):
        return None


def _group(uid: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        # A user that no list of users has is in the group of that number.
        return uid


def of_script(path: str) -> str:
    """Return the interpreter that the first line of a script names.

    :returns: '' where it names none that is there
    """
    try:
        with lookup.opened(path) as script:
            line = script.readline()
    except OSError:
        return ''
    if not line.startswith(b'#!'):
        return ''
    words = os.fsdecode(line[2:]).split()
    if words and os.path.basename(words[0]) == 'env':
        words = words[1:]
    return (shutil.which(words[0]) or '') if words else ''
