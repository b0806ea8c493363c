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


"""Take the same guest by each variant in turn, round after round."""

import collections.abc as cabc
import os
import sys
import time

from bench import figures
from bench import meter as meter_module
from bench import scene as scene_module
from bench import shapes
from bench import variants as variants_module
from tests.lab import errors
from tests.lab.guest import domain as guest_domain

# Seconds for the services to come to rest after a snapshot.
REST = 1


def say(words: str) -> None:
    """Say what is being done."""
    print(f'== {words}', file=sys.stderr, flush=True)


def left_out(variant: variants_module.Variant, why: str) -> None:
    """Say that a variant is not measured.

    :param why: '' where it is none of ours
    """
    say(f'{variant.name} is left out: {why or "it is none of ours"}')


def measure(scene: scene_module.Scene, shape: shapes.Shape,
            wanted: cabc.Sequence[variants_module.Variant],
            rounds: int) -> list[figures.Sample]:
    """Measure variants on one guest.

    Each round has all of them, and begins with another one.

    :raises LabError: when one fails
    """
    say(f'{shape.name}: {shape.title}')
    samples = []
    with scene.guest(shape) as guest:
        client = variants_module.Client(scene, guest)
        # Makes what the bare PUT sends.
        image_id, _ = client.take(variants_module.VARIANTS['upstream'])
        scene.delete_image(image_id)
        usable = list(_usable(client, wanted))
        for number in range(rounds):
            for at in range(len(usable)):
                variant = usable[(at + number) % len(usable)]
                sample = _sample(scene, guest, client, variant,
                                 shape=shape.name, number=number)
                say(f'{number + 1} {variant.name:14} '
                    f'{sample.seconds:6.2f} s')
                samples.append(sample)
    order = [variant.name for variant in usable]
    return sorted(samples, key=lambda one: order.index(one.variant))


def _usable(client: variants_module.Client,
            wanted: cabc.Iterable[variants_module.Variant]
            ) -> cabc.Iterator[variants_module.Variant]:
    for variant in wanted:
        why = client.why_not(variant)
        if why:
            left_out(variant, why)
        else:
            yield variant


def _sample(scene: scene_module.Scene, guest: guest_domain.Guest,
            client: variants_module.Client,
            variant: variants_module.Variant, *, shape: str,
            number: int) -> figures.Sample:
    before_it = _base(scene, guest, client, variant, shape, number)
    come_to_rest(guest)
    if variant.name == figures.BARE:
        # It is the least that an upload can take: without the disk.
        shapes.warm(client.finished)
    meter = meter_module.Meter(scene.run_dir, guest)
    with meter_module.Console(guest.spec.console) as console:
        before = meter.look()
        image_id, used = client.take(variant)
        services = meter.look() - before
        stall = console.stall_seconds()
    if not meter_module.is_live(guest.domain):
        raise errors.LabError(f'{variant.name} has lost the guest')
    size = scene.image_size(image_id)
    # A clone goes before what it is a clone of.
    for one in (image_id, *before_it):
        scene.delete_image(one)
    return figures.Sample(
        shape=shape, variant=variant.name, round=number,
        seconds=used['seconds'], load_seconds=used['load_seconds'],
        read_bytes=int(used['read_bytes'] + services.qemu_read),
        written_bytes=int(used['written_bytes'] + services.qemu_written),
        sent_bytes=size,
        cpu_seconds={'client': used['cpu_seconds'], **services.cpu_seconds},
        memory_bytes=int(used['memory_bytes']), stall_seconds=stall,
        frozen_seconds=console.frozen_seconds)


def _base(scene: scene_module.Scene, guest: guest_domain.Guest,
          client: variants_module.Client, variant: variants_module.Variant,
          shape: str, number: int) -> list[str]:
    """Take the image that a variant begins as, if it begins as one."""
    if variant.incremental == 'none':
        return []
    image_id, _ = client.take(variant)
    shapes.change(guest.domain, shapes.find(shape), number)
    return [image_id]


def come_to_rest(guest: guest_domain.Guest) -> None:
    """Let nothing of the last snapshot weigh on the next one.

    The page cache holds nothing of the guest's files, as on a node with more
    guests than memory, and QEMU's writes pass it by.
    """
    os.sync()
    disk = guest.spec.disk
    assert disk is not None
    shapes.evict(disk.path, *(path for path, _ in disk.backing))
    time.sleep(REST)
