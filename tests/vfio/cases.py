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

"""The cases: what happens to a guest with three devices of its host."""

import collections.abc as cabc
import json
import typing as ty

import libvirt

from tests.lab import errors
from tests.vfio import devices as devices_module
from tests.vfio import inner
from tests.vfio import scene as scenes

KILLED = -9


def demand(true: object, what: str) -> None:
    """Assert that something holds.

    :raises LabError: when it does not
    """
    if not true:
        raise errors.LabError(what)


def demand_same(before: dict[str, ty.Any], after: dict[str, ty.Any]) -> None:
    """Assert that a look finds what an earlier one found.

    :raises LabError: naming the first thing that is different
    """
    for name, value in before.items():
        demand(after[name] == value,
               f'{name}: {value} before, {after[name]} after')


def demand_premise(look: dict[str, ty.Any]) -> None:
    """Assert that the guest has what the cases are about.

    :raises LabError: when it has not
    """
    found = {address: (device['mac'], device['vlan'])
             for address, device in look['devices'].items()}
    expected = {f'0000:00:{inner.NVME:02x}.0': (None, [])}
    for slot, mac in inner.MACS.items():
        expected[f'0000:00:{slot:02x}.0'] = (mac, [str(inner.VLANS[slot])])
    demand(found == expected, f'the guest has {found}')
    for device in look['devices'].values():
        demand(look['drivers'][device['host']] == devices_module.VFIO,
               f'{device["host"]} is not passed through: {look["drivers"]}')
        if device['mac']:
            setting = device['mac'], [int(tag) for tag in device['vlan']]
            demand(look['MAC and VLAN'][device['host']] == setting,
                   f'the card has {look["MAC and VLAN"]}')


def demand_alive(scene: scenes.Scene, before: tuple[str, int]) -> None:
    """Assert that the guest goes on where it was.

    :raises LabError: when it was booted anew or its memory is older
    """
    boot, count = scene.guest.life()
    demand(boot == before[0] and count > before[1],
           f'the guest was at {before}, and is at {(boot, count)}')


def cold(scene: scenes.Scene) -> None:
    """All three devices go, the guest is saved, and all three come back.

    What came back is taken once more.
    """
    scene.boot()
    demand_premise(scene.look())
    for _ in ('as they were defined', 'as they came back'):
        before, life = scene.look(), scene.guest.life()
        since = len(scene.guest.said())
        done = scene.snapshot()
        demand(done.returncode == 0, done.stderr)
        demand_same(before, scene.look())
        for slot in inner.SLOTS:
            scene.guest.wait_for(f'EJECT {slot:02x}', since=since)
        scene.guest.assert_works(since)
        demand_alive(scene, life)
        scene.assert_image(json.loads(done.stdout)['images'][0]['image_id'])


def refused_by_libvirt(scene: scenes.Scene) -> None:
    """Without us such a guest cannot be saved: its devices are real."""
    scene.boot()
    before, life = scene.look(), scene.guest.life()
    demand_premise(before)
    try:
        scene.guest.domain.managedSave()
    except libvirt.libvirtError as exc:
        demand('VFIO' in str(exc), str(exc))
    else:
        raise errors.LabError('libvirt saved a guest with devices')
    demand_same(before, scene.look())
    demand_alive(scene, life)


def paused(scene: scenes.Scene) -> None:
    """A paused guest cannot release anything: nothing is begun."""
    scene.boot()
    life = scene.guest.life()
    scene.guest.domain.suspend()
    before = scene.look()
    done = scene.snapshot()
    demand(done.returncode > 0, 'a snapshot was taken of a paused guest')
    demand('paused' in done.stderr, done.stderr)
    demand_same(before, scene.look())
    demand(not scene.images(), 'an image was left')
    scene.guest.domain.resume()
    demand_alive(scene, life)


def not_released(scene: scenes.Scene) -> None:
    """The guest keeps its last device: it gets the others back."""
    scene.boot(keeps=inner.POOL_PORT)
    before, life = scene.look(), scene.guest.life()
    demand_premise(before)
    since = len(scene.guest.said())
    done = scene.snapshot()
    demand(done.returncode > 0, 'a snapshot was taken with a device in use')
    demand(inner.MACS[inner.POOL_PORT] in done.stderr
           and 'detach_timeout' in done.stderr, done.stderr)
    scene.guest.wait_for(f'KEEP {inner.POOL_PORT:02x}', since=since)
    demand_same(before, scene.look())
    scene.guest.wait_for(f'NVME {inner.NVME:02x}', since=since)
    scene.guest.wait_for(f'PORT {inner.PORT:02x}', since=since)
    demand_alive(scene, life)
    demand(not scene.images(), 'an image was left')


def killed(call: str, number: int) -> cabc.Callable[[scenes.Scene], None]:
    """Make a case: killed before a call, everything comes back."""

    def case(scene: scenes.Scene) -> None:
        scene.boot()
        before, life = scene.look(), scene.guest.life()
        demand_premise(before)
        since = len(scene.guest.said())
        kill(scene, call, number)
        recover(scene)
        demand_same(before, scene.look())
        scene.guest.wait_for(f'NVME {inner.NVME:02x}', since=since)
        demand_alive(scene, life)
        demand(not scene.images(), 'an image was left')

    return case


def kill(scene: scenes.Scene, call: str, number: int) -> None:
    """Let a snapshot be killed, and see that this does harm.

    :raises LabError: when the guest has all its devices and a proof of
        their return would prove nothing
    """
    devices_before = scene.look()['devices']
    done = scene.snapshot(killed_before=(call, number))
    demand(done.returncode == KILLED, f'{done.returncode}: {done.stderr}')
    found = scene.look()
    demand(found['records'], 'the killed process left no record')
    demand(found['saved'] or found['devices'] != devices_before,
           'the guest has all its devices')


def recover(scene: scenes.Scene) -> None:
    """Let ``nova-snap recover`` settle what was left.

    :raises LabError: when it does not
    """
    done = scene.command('recover')
    demand(done.returncode == 0, done.stdout + done.stderr)


def device_gone(scene: scenes.Scene) -> None:
    """A device is pulled out of the host while the guest is saved."""
    scene.boot()
    before, life = scene.look(), scene.guest.life()
    demand_premise(before)
    kill(scene, 'createWithFlags', 1)
    scene.devices.take_out()
    done = scene.command('recover')
    demand(done.returncode > 0, 'a device that is gone is not reported')
    demand(scene.devices.nvme in done.stderr, done.stderr)
    demand_alive(scene, life)
    demand(len(scene.records()) == 1, 'the record is gone')
    scene.devices.put_back()
    recover(scene)
    demand_same(before, scene.look())
    demand_alive(scene, life)


CASES: dict[str, cabc.Callable[[scenes.Scene], None]] = {
    'refused-by-libvirt': refused_by_libvirt,
    'cold': cold,
    'paused': paused,
    'not-released': not_released,
    'killed-between-detaches': killed('detachDeviceFlags', 2),
    'killed-before-start': killed('createWithFlags', 1),
    'killed-between-attaches': killed('attachDeviceFlags', 2),
    'device-gone': device_gone,
}
