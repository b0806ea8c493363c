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

"""Whether Nova finds our driver: the shim in nova's own folder.

Nova imports ``nova.virt.<compute_driver>`` and nothing else, and finds only
what lies in the folder it was itself imported from.
"""

import importlib.metadata
import importlib.util
import os
import sys

from nova_snap import errors

DISTRIBUTION = 'nova_snap'
# What nova.conf has in front of the class.
DRIVER_PREFIX = 'nova_snap.'
SHIM = 'nova.virt.nova_snap'
SHIM_FILE = 'nova/virt/nova_snap/__init__.py'


def look(compute_driver: str | None) -> str:
    """Say whether the Nova of this Python, if any, can load the driver.

    :param compute_driver: what nova.conf says
    :raises Refused: when nova.conf asks for our driver and the Nova next to
        this command does not find it
    """
    nova = _folder_of_nova()
    is_wanted = (compute_driver or '').startswith(DRIVER_PREFIX)
    if nova is None:
        words = 'Nova is not installed where this command is'
        if is_wanted:
            words += (f', which cannot tell whether it finds {compute_driver}'
                      ': that must be installed by the pip of nova-compute')
        return words
    if _is_found(SHIM):
        return f'the Nova in {nova} finds the driver' + (
            '' if is_wanted else ', and nova.conf does not ask for it')
    if not is_wanted:
        return f'the Nova in {nova} does not find the driver, nor need it'
    site_packages = os.path.dirname(nova)
    raise errors.Refused(
        reason=f'compute_driver is {compute_driver}, and the Nova in {nova} '
               f'does not find it: the file it looks for lies at {_shim()}. '
               'Install nova_snap where nova is: '
               f'{sys.executable} -m pip install --no-deps '
               f'--target {site_packages} nova-snap')


def _folder_of_nova() -> str | None:
    """Return where nova lies; None where there is but a package of its name.

    Our shim alone makes an empty ``nova`` importable.
    """
    if not _is_found('nova.compute'):
        return None
    found = importlib.util.find_spec('nova')
    assert found is not None and found.submodule_search_locations
    return next(iter(found.submodule_search_locations))


def _is_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _shim() -> str:
    """Return where our package has brought the shim to."""
    return str(importlib.metadata.distribution(DISTRIBUTION).locate_file(
        SHIM_FILE))
