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

"""A copy job, from its start to the request that it ends."""

import dataclasses

from tests.fakes import disk as fake_disk

# Where a copy that is not ready yet was cut off: some is there, not all.
HALF = 2

# What libvirt counts in a block job; the number means nothing.
STEP_BYTES = 1 << 20


@dataclasses.dataclass
class MirrorLife:
    """How copy jobs of a guest will go.

    :ivar ready_after: looks at it until it is ready; None is never, unless
        a test says so
    :ivar stalls_after: looks until it makes no progress any more
    :ivar lost_after: looks until its target is full and the job is gone
    :ivar ends_after: looks from the request that it ends until it has; None
        is never: its storage hangs
    :ivar is_denied: QEMU is not allowed to open the target, in spite of its
        mode
    :ivar fails_at_end: what keeps it from ending well, when it was told to
    """

    ready_after: int | None = 3
    stalls_after: int | None = None
    lost_after: int | None = None
    ends_after: int | None = 2
    fails_at_end: str | None = None
    is_denied: bool = False


@dataclasses.dataclass
class FakeMirror:
    """A copy job of one disk.

    :ivar source: the active layer
    :ivar path: the overlay it is copied to
    :ivar format: of the overlay, as it was found at the start
    """

    source: str
    path: str
    life: MirrorLife
    format: str
    job: str = 'copy'
    ready: bool = False
    cur: int = 0
    end: int = STEP_BYTES
    is_ending: bool = False
    _looks: int = 0
    _looks_at_end: int = 0

    @property
    def is_lost(self) -> bool:
        """Tell whether the file system of the target is full."""
        return (self.life.lost_after is not None
                and self._looks >= self.life.lost_after)

    @property
    def has_ended(self) -> bool:
        """Tell whether it has done what it was told."""
        return (self.is_ending and self.life.ends_after is not None
                and self._looks_at_end >= self.life.ends_after)

    def look(self) -> None:
        """Let some time go by."""
        self._looks += 1
        self._looks_at_end += self.is_ending
        stalls = self.life.stalls_after
        if stalls is None or self._looks <= stalls:
            self.cur += STEP_BYTES
            self.end = max(self.end, self.cur)
        if (self.life.ready_after is not None
                and self._looks >= self.life.ready_after):
            self.ready = True

    def leave_delta(self, *, whole: bool) -> None:
        """Leave what was copied in the overlay.

        Either way it is a file that looks like a good one.
        A file that was removed since is no hindrance: QEMU has it open.
        """
        try:
            delta = fake_disk.DiskFile.load(self.path)
        except FileNotFoundError:
            return
        active = fake_disk.DiskFile.load(self.source).clusters
        copied = sorted(active)
        if not whole:
            copied = copied[:len(copied) // HALF]
        delta.clusters = {key: active[key] for key in copied}
        delta.save(self.path)
