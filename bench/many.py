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


"""Guests at once against one Glance: what is left of one's throughput?"""

import collections.abc as cabc
import contextlib
import dataclasses
import time

from bench import figures
from bench import rounds as rounds_module
from bench import scene as scene_module
from bench import shapes
from bench import variants as variants_module
from nova_snap import units
from tests.lab import errors
from tests.lab.guest import domain as guest_domain


@dataclasses.dataclass(frozen=True)
class Found:
    """The best of one variant's rounds, alone and with others."""

    variant: str
    one_bytes: int
    one_seconds: float
    all_bytes: int
    all_seconds: float

    @property
    def share(self) -> float:
        """The throughput of all, as a share of one's."""
        return figures.share(self.all_bytes, self.all_seconds,
                             self.one_bytes, self.one_seconds)


def measure(scene: scene_module.Scene, shape: shapes.Shape,
            wanted: cabc.Iterable[variants_module.Variant], count: int,
            number_of_rounds: int) -> list[Found]:
    """Measure our variants on one guest, then on all at once.

    All guests stand paused in both cases: emulated ones that write take the
    processors for themselves.

    :raises LabError: when one fails
    """
    with contextlib.ExitStack() as stack:
        guests = [stack.enter_context(_paused(scene, shape))
                  for _ in range(count)]
        rounds_module.say(f'{count} guests of {shape.name} stand paused')
        clients = [variants_module.Client(scene, one) for one in guests]
        found = []
        for variant in wanted:
            why = clients[0].why_not(variant)
            if why or not variant.method:
                rounds_module.left_out(variant, why)
                continue
            ones = [_at_once(scene, clients[:1], variant)
                    for _ in range(number_of_rounds)]
            all_of_them = [_at_once(scene, clients, variant)
                    for _ in range(number_of_rounds)]
            found.append(Found(variant.name, *_best(ones),
                               *_best(all_of_them)))
    return found


@contextlib.contextmanager
def _paused(scene: scene_module.Scene, shape: shapes.Shape
            ) -> cabc.Iterator[guest_domain.Guest]:
    with scene.guest(shape) as guest:
        guest.domain.suspend()
        yield guest


def lines(found: list[Found], count: int) -> list[list[str]]:
    """Return the cells of a table."""
    return [['variant', 'one: MiB/s', f'{count} at once: MiB/s', 'share'],
            *([one.variant,
               f'{one.one_bytes / units.MiB / one.one_seconds:.0f}',
               f'{one.all_bytes / units.MiB / one.all_seconds:.0f}',
               f'{one.share:.2f}'] for one in found)]


def _best(measured: list[tuple[int, float]]) -> tuple[int, float]:
    return max(measured, key=lambda one: one[0] / one[1])


def _at_once(scene: scene_module.Scene,
             clients: list[variants_module.Client],
             variant: variants_module.Variant) -> tuple[int, float]:
    """Take snapshots of some guests; return bytes in all, and seconds.

    The time is from when the first client was loaded until the last one was
    done.
    """
    time.sleep(rounds_module.REST)
    running = [client.start(variant) for client in clients]
    try:
        used = [client.used(process) for client, process in zip(
            clients, running, strict=True)]
    except errors.LabError:
        for process in running:
            process.wait()
        raise
    total = 0
    for client in clients:
        image_id = client.image_id()
        total += scene.image_size(image_id)
        scene.delete_image(image_id)
    return total, (max(one['ended'] for one in used)
                   - min(one['began'] for one in used))
