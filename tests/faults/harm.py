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

"""What a guest suffers between the death of a snapshot and its recovery.

A kill that does no harm proves nothing: where harm is known to be done, it
has to be seen.
"""

import contextlib
import fnmatch
import json

import libvirt
import libvirt_qemu

from tests.faults import cases as cases_module
from tests.faults import scene as scene_module
from tests.lab.guest import domain as guest_domain

AGENT_TIMEOUT = 10

UNDEFINED, MIRRORED, FROZEN = 'undefined', 'mirrored', 'frozen'
BACKED_UP, SAVED, TRACKED = 'backed up', 'saved', 'tracked'

# By patterns of the names of cases.
KNOWN = (
    ('live*/undefineFlags.1/after/sigkill', UNDEFINED),
    ('live*/blockRebase.1/after/sigkill', UNDEFINED),
    ('live*/blockRebase.1/after/sigkill', MIRRORED),
    ('live-copy/blockCopy.1/after/sigkill', MIRRORED),
    ('live*/fsFreeze.1/after/sigkill', FROZEN),
    ('live*/blockJobAbort.1/after/sigkill', FROZEN),
    ('backup/backupBegin.1/after/sigkill', FROZEN),
    ('backup/backupBegin.1/after/sigkill', BACKED_UP),
    ('incremental*/backupBegin.1/after/sigkill', FROZEN),
    ('incremental*/backupBegin.1/after/sigkill', BACKED_UP),
    ('incremental*/backupBegin.1/after/sigkill', TRACKED),
    ('cold*/managedSave.1/after/sigkill', SAVED),
)


def done(guest: guest_domain.Guest) -> list[str]:
    """Say what was done to a guest and is to be undone."""
    if scene_module.is_gone(guest):
        return [UNDEFINED]
    domain = guest.domain
    found = [] if domain.isPersistent() else [UNDEFINED]
    if not domain.isActive():
        return [*found, SAVED] if domain.hasManagedSaveImage() else found
    if '<mirror' in domain.XMLDesc():
        found.append(MIRRORED)
    with contextlib.suppress(libvirt.libvirtError):
        domain.backupGetXMLDesc()
        found.append(BACKED_UP)
    if domain.listAllCheckpoints():
        # libvirt undefines no guest that is off and has one.
        found.append(TRACKED)
    if domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING:
        with contextlib.suppress(libvirt.libvirtError):
            if json.loads(libvirt_qemu.qemuAgentCommand(
                    domain, '{"execute": "guest-fsfreeze-status"}',
                    AGENT_TIMEOUT, 0))['return'] == FROZEN:
                found.append(FROZEN)
    return found


def missing(case: cases_module.Case, found: list[str]) -> list[str]:
    """Say which harm a case is known to do and has not done."""
    return [what for pattern, what in KNOWN
            if fnmatch.fnmatch(case.name, pattern) and what not in found]
