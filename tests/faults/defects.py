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

"""Upstream's defects, each with the cases in which its own code falls.

What each name stands for is in doc/source/contributor/faults.rst.
"""

import fnmatch
import typing as ty

from tests.faults import cases as cases_module


class Known(ty.NamedTuple):
    """A defect, and the names of cases that reproduce it."""

    name: str
    pattern: str


DEFECTS = (
    Known('D1', 'live*/blockRebase.1/after/*'),
    Known('D1', 'live*/blockJobAbort.1/before/*'),
    Known('D2', 'live*/blockJobAbort.1/before/libvirt-*'),
    Known('D2', 'live*/blockRebase.1/before/full-*'),
    Known('D2', 'live*/blockJobAbort.1/before/full-*'),
    Known('D3', 'live*/blockJobAbort.1/before/full-*'),
    Known('D2', 'live*/*/*/source-unreadable'),
    Known('D3', 'live*/*/*/source-unreadable'),
    Known('D5', '*/*/*/libvirtd-hangs'),
    Known('D8', 'live*/undefineFlags.1/after/*'),
    Known('D10', '*/*/*/foreign-job'),
    Known('D11', 'live*/blockJobAbort.1/before/disk-gone'),
    Known('P3', 'cold/managedSave.1/after/*'),
    Known('P8', 'cold/createWithFlags.1/*/*'),
    Known('Q1', '*/fsFreeze.1/before/libvirt-*'),
    Known('Q1', '*/*/*/agent-refuses'),
    Known('Q1', '*/*/*/agent-mumbles'),
    Known('Q2', '*/*/*/agent-hung'),
    Known('Q2', '*/*/*/agent-hangs-in-*'),
    Known('Q3', '*/fsThaw.1/before/libvirt-*'),
    Known('Q4', 'volumes/fsFreeze.1/after/*'),
    Known('R1', '*/Images.upload.1/*/sig*'),
    Known('R1', '*/*/*/power'),
    Known('R2', '*/Files.make_scratch.1/after/sigkill'),
    Known('U1', '*/glance-PUT-*/during/reset*'),
    Known('U1', '*/glance-PUT-*/during/gone'),
    Known('U2', '*/glance-PUT-*/during/*-bytes'),
    Known('U2', '*/*/during/wrong-*'),
    Known('U3', '*/glance-PUT-*/during/token-expires'),
    Known('U6', 'direct*/glance-POST-images-ID-locations.*/during/*403'),
    Known('V1', 'volumes/Volumes.create_snapshot.2/*/*'),
    Known('V1', 'volumes/cinder-POST-snapshots.2/during/*'),
)


def at(case: cases_module.Case) -> list[str]:
    """Name the defects that a case reproduces in upstream's own code."""
    return sorted({known.name for known in DEFECTS
                   if fnmatch.fnmatch(case.name, known.pattern)})
