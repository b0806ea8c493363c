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


"""What was measured, and what is said of it. Pure: it measures nothing."""

import collections.abc as cabc
import dataclasses
import statistics
import typing as ty

# The variant that all others are compared with.
BARE = 'put'

# Of whom CPU seconds are counted; the client with all that it starts.
PROCESSES = ('client', 'qemu', 'glance', 'libvirtd')

Described = dict[str, ty.Any]


@dataclasses.dataclass(frozen=True)
class Sample:
    """One snapshot.

    Times are seconds and sizes are bytes. What the guest itself read and
    wrote in that time is not counted.

    :ivar seconds: from when the client was loaded until it was done
    :ivar load_seconds: for the client's program to be loaded, before that
    :ivar read_bytes: from files, by the client, its tools and QEMU
    :ivar written_bytes: to this host's disk, by the same
    :ivar sent_bytes: the image, as it is in Glance
    :ivar cpu_seconds: one for each of PROCESSES
    :ivar memory_bytes: of the client's largest process, at its peak
    :ivar stall_seconds: the longest write, as the guest saw it; None where
        it does not say
    :ivar frozen_seconds: at most, as the guest's agent said; None where
        nothing was frozen
    """

    shape: str
    variant: str
    round: int
    seconds: float
    load_seconds: float
    read_bytes: int
    written_bytes: int
    sent_bytes: int
    cpu_seconds: ty.Mapping[str, float]
    memory_bytes: int
    stall_seconds: float | None
    frozen_seconds: float | None

    def describe(self) -> Described:
        """Return it for a JSON file."""
        return {**dataclasses.asdict(self),
                'cpu_seconds': dict(self.cpu_seconds)}


@dataclasses.dataclass(frozen=True)
class Row:
    """The medians of one variant's samples of one shape.

    :ivar count: of samples
    :ivar fastest: seconds
    :ivar slowest: seconds
    :ivar ratio: of the seconds to those of the bare PUT; None without one
    """

    shape: str
    variant: str
    count: int
    seconds: float
    fastest: float
    slowest: float
    ratio: float | None
    read_bytes: float
    written_bytes: float
    sent_bytes: float
    cpu_seconds: ty.Mapping[str, float]
    memory_bytes: float
    stall_seconds: float | None
    frozen_seconds: float | None


def sample_of(described: Described) -> Sample:
    """Read a sample from what :meth:`Sample.describe` returned.

    :raises KeyError: when something is missing
    """
    return Sample(**{field.name: described[field.name]
                     for field in dataclasses.fields(Sample)})


def rows(samples: cabc.Sequence[Sample]) -> list[Row]:
    """Return a row for each shape and variant, in the order of the samples."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.shape, sample.variant), []).append(sample)
    return [_row(group, groups.get((shape, BARE), ()))
            for (shape, _), group in groups.items()]


def median(values: cabc.Iterable[float | None]) -> float | None:
    """Return the median of those that are known, None when none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def share(all_bytes: float, seconds: float, one_bytes: float,
          one_seconds: float) -> float:
    """Return a throughput as a share of another one's."""
    return (all_bytes / seconds) / (one_bytes / one_seconds)


def _row(group: cabc.Sequence[Sample],
         bare: cabc.Sequence[Sample]) -> Row:
    seconds = statistics.median(one.seconds for one in group)
    return Row(
        shape=group[0].shape, variant=group[0].variant, count=len(group),
        seconds=seconds,
        fastest=min(one.seconds for one in group),
        slowest=max(one.seconds for one in group),
        ratio=(seconds / statistics.median(one.seconds for one in bare)
               if bare else None),
        read_bytes=statistics.median(one.read_bytes for one in group),
        written_bytes=statistics.median(one.written_bytes for one in group),
        sent_bytes=statistics.median(one.sent_bytes for one in group),
        cpu_seconds={name: statistics.median(
            one.cpu_seconds[name] for one in group) for name in PROCESSES},
        memory_bytes=statistics.median(one.memory_bytes for one in group),
        stall_seconds=median(one.stall_seconds for one in group),
        frozen_seconds=median(one.frozen_seconds for one in group))
