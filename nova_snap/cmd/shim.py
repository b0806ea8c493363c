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

"""Whether Nova finds our driver: the shim in Nova's own folder."""

import importlib.metadata
import os
import shutil
import sys

from nova_snap import errors
from nova_snap.host import processes
from nova_snap.host import python as python_module

DISTRIBUTION = 'nova_snap'
# What nova.conf has in front of the class.
DRIVER_PREFIX = 'nova_snap.'
SHIM_FILE = 'nova/virt/nova_snap/__init__.py'

# Where Debian's own packages lie. pip writes elsewhere unless it is asked.
# :source: Debian's patch of sysconfig, DEB_PYTHON_INSTALL_LAYOUT
DEBIANS_FOLDER = 'dist-packages'
PIPS_FOLDER = 'site-packages'


def look(compute_driver: str | None) -> str:
    """Say whether Nova finds the driver, and where Nova lies.

    :param compute_driver: what Nova's configuration says
    :raises Refused: when it asks for our driver and Nova does not find it
    """
    interpreter, uid = _interpreter()
    found = python_module.ask(interpreter, uid)
    is_wanted = (compute_driver or '').startswith(DRIVER_PREFIX)
    if found is None or found.nova is None:
        words = f'there is no Nova for {interpreter}'
        if is_wanted:
            words += (f'. Whether Nova finds {compute_driver} is not known: '
                      'run this command in the environment, or the '
                      'container, of nova-compute')
        return words
    if found.has_shim:
        return f'the Nova in {found.nova} finds the driver' + (
            '' if is_wanted else ', and its configuration does not ask for it')
    if not is_wanted:
        return (f'the Nova in {found.nova} does not find the driver, nor '
                'need it')
    raise errors.Refused(
        reason=f'compute_driver is {compute_driver}, and the Nova in '
               f'{found.nova} does not find it: there is no '
               f'{_shim_of(found.nova)}{_where_it_is()}. In a checkout of '
               f'nova_snap run: {_install_line(interpreter, found)}')


def _interpreter() -> tuple[str, int]:
    """Return the Python of Nova, as far as that can be told, else ours.

    That of the nova-compute which runs, or of the one which would be
    started.

    :returns: and the uid of the user whose it is
    """
    for one in processes.nova_computes():
        uid = one.uid
        if one.is_in_container is False and uid is not None:
            found = one.interpreter or python_module.of_script(one.program)
            if found:
                return shutil.which(found) or found, uid
    script = shutil.which(processes.NOVA_COMPUTE)
    return (python_module.of_script(script) if script else '') or (
        sys.executable), 0


def _shim_of(nova: str) -> str:
    return os.path.join(os.path.dirname(nova), SHIM_FILE)


def _where_it_is() -> str:
    """Say where our package has brought the shim to."""
    path = str(importlib.metadata.distribution(DISTRIBUTION).locate_file(
        SHIM_FILE))
    return f', it lies at {path}' if os.path.exists(path) else ''


def _install_line(interpreter: str, found: python_module.Found) -> str:
    """Return what installs our package where Nova lies.

    Nova's own libraries stay as they are.
    """
    assert found.nova is not None
    words = [interpreter, '-m', 'pip', 'install', '--no-deps']
    folder = os.path.basename(os.path.dirname(found.nova))
    if folder == DEBIANS_FOLDER:
        words.insert(0, 'DEB_PYTHON_INSTALL_LAYOUT=deb')
    if found.is_managed:
        words.append('--break-system-packages')
    words.append('.')
    if folder not in (DEBIANS_FOLDER, PIPS_FOLDER):
        # Nova runs from a checkout, as in DevStack: pip does not write there.
        words += ['&&', 'cp', '-r', os.path.dirname(SHIM_FILE),
                  os.path.join(found.nova, 'virt')]
    return ' '.join(words)
