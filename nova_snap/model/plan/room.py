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

"""How much room a snapshot may need in ``snapshots_directory``."""

from nova_snap import units

QCOW2_CLUSTER = 64 * units.KiB
# Per cluster an L2 entry of 8 bytes and a refcount of 2; what is left of the
# 16 counted here covers the L1 table and the refcount table.
QCOW2_BYTES_PER_CLUSTER = 16
# Header, first refcount block, rounding of every table to whole clusters.
QCOW2_FIXED = 1 * units.MiB


def qcow2_metadata(virtual_size: int) -> int:
    """Return the most that qcow2's own tables take for a disk this large.

    :source: QEMU docs/interop/qcow2.txt
    """
    clusters = -(-virtual_size // QCOW2_CLUSTER)
    return clusters * QCOW2_BYTES_PER_CLUSTER + QCOW2_FIXED


def flat_image(virtual_size: int, allocated: int, *,
               worst_case: bool) -> int:
    """Return what a flat image of a disk at rest takes.

    In the worst case that is the whole virtual size, however little is
    allocated: one block of 4 KiB becomes a whole cluster of 64 KiB in qcow2
    and vmdk, and one of 1 MiB in vdi. Without ``worst_case`` only what is
    allocated now is counted.
    """
    if worst_case:
        allocated = virtual_size
    return min(virtual_size, allocated) + qcow2_metadata(virtual_size)


def live(virtual_size: int, allocated: int, *, worst_case: bool) -> int:
    """Return what a delta and the flat image made of it take together.

    While the mirror runs the guest may write to every cluster of its disk:
    the worst case is the whole virtual size, twice. Without ``worst_case``
    only what is allocated now is counted, twice.
    """
    return 2 * flat_image(virtual_size, allocated, worst_case=worst_case)
