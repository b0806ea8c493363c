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

"""What the tests of kills share: children that die, and a look at the rest."""

import collections.abc as cabc
import contextlib
import json
import os
import pathlib
import sys
import time
import typing as ty

import libvirt

from tests.functional import base
from tests.functional import children
from tests.lab import errors
from tests.lab.guest import domain as guest_domain
from tests.lab import process
from tests.lab import proof

KILLED = -9

# Seconds for a process that was told to die with its parent.
DEATH_TIMEOUT = 5
# Seconds for the guest agent to come up after a boot.
AGENT_TIMEOUT = 30

# What a sweep raises where a guest is not as it was.
WENT_WRONG = (AssertionError, errors.LabError)

PROC = pathlib.Path('/proc')


class KillTest(children.ChildTest):
    """Kill the command, look, recover, and assert that all is as it was.

    :ivar COLD: the guest goes on in another QEMU process
    :ivar HARM: what a guest suffers from an event on, until it is recovered:
        a test whose kills do no harm proves nothing
    """

    COLD = False
    HARM: ty.ClassVar[dict[str, cabc.Callable[[guest_domain.Guest],
                                              bool]]] = {}

    _passes: ty.ClassVar[dict[ty.Any, tuple[str, ...]]] = {}
    # Steps in which a guest was power-cycled after a kill.
    _cycled: ty.ClassVar[set[str]] = set()

    # Commands in children

    def dry_pass(self, *arguments: str) -> tuple[str, ...]:
        """Run the command unharmed, once for a class, and return its events.

        Its image is deleted: the next pass begins as this one.
        """
        # Which guest it is changes nothing.
        key = (type(self), arguments[2:])
        if key not in self._passes:
            ended = self.child(*arguments)
            self.assertEqual(0, ended.code, ended.stderr)
            self._delete_images()
            self.assert_nothing_left()
            self._passes[key] = ended.events[:-1]
        return self._passes[key]

    def kill(self, *arguments: str, **order: ty.Any) -> children.Ended:
        """Run the command and see that it died, with its children."""
        ended = self.child(*arguments, **order)
        self.assertEqual(KILLED, ended.code, f'{order}: {ended.stderr}')
        process.wait_until(lambda: not self._orphans(),
                           timeout=DEATH_TIMEOUT, what='the end of qemu-img')
        return ended

    def left(self) -> list[dict[str, ty.Any]]:
        """Return what ``nova-snap status`` shows."""
        ended = self.child('status', '--json')
        self.assertEqual(0, ended.code, ended.stderr)
        return list(json.loads(ended.stdout))

    def recover(self, *outcomes: str) -> None:
        """Let ``nova-snap recover`` settle what is there.

        :param outcomes: of the records that were left
        """
        ended = self.child('recover', '--json')
        self.assertEqual(0, ended.code, ended.stdout + ended.stderr)
        self.assertEqual(list(outcomes), [
            finding['outcome'] for finding in json.loads(ended.stdout)])
        self.assertEqual([], self.left())

    # One kill

    def sweep(self, guest: guest_domain.Guest, *arguments: str,
              near: str = '') -> None:
        """Kill before every event of a flow, and after the last one.

        The events are those of an undisturbed pass: a flow that gets a step
        more gets its kills too.

        :param near: only where the event before or after the kill has this
            word, for a flow whose other points have a sweep of their own
        """
        events = self.dry_pass(*arguments)
        for number in range(len(events) + 1):
            if not any(near in event for event
                       in ('', *events, '')[number:number + 2]):
                continue
            ended = self.kill_and_recover(guest, *arguments, before=number)
            self.assertEqual(events[:number], ended.events)
        self.power_cycle(guest)
        self.assertLessEqual(set(self.HARM), set(events))

    def sweep_recovery(self, guest: guest_domain.Guest, *arguments: str,
                       after: str) -> None:
        """Kill the recovery of one kill before each of its own events.

        :param after: the event after which the command itself is killed
        """
        before = base.look(guest)
        events = self.dry_pass(*arguments)
        number = events.index(after) + 1
        committed = 'write committed' in events[:number]
        self.kill(*arguments, before=number)
        recovery = self.child('recover').events[:-1]
        self.assert_whole(guest, before, committed=committed)
        for count in range(1, len(recovery)):
            with self.saying(f'{after}, then before {recovery[count]}'):
                before = base.look(guest)
                self.kill(*arguments, before=number)
                ended = self.kill('recover', before=count)
                self.assertEqual(recovery[:count], ended.events)
                self.recover('settled')
                self.assert_whole(guest, before, committed=committed)

    def kill_and_recover(self, guest: guest_domain.Guest, *arguments: str,
                         **order: ty.Any) -> children.Ended:
        """Kill the command at a point, recover, and look at everything."""
        before = base.look(guest)
        ended = self.kill(*arguments, console=str(guest.spec.console),
                          **order)
        done = ended.events[-1] if ended.events else 'nothing'
        with self.saying(f'{order}, done {done}'):
            if done in self.HARM and 'before' in order:
                self.assertTrue(self.HARM[done](guest), 'no harm was done')
            left = self.left()
            self.assertEqual(['left'] * self._has_record(),
                             [finding['outcome'] for finding in left])
            committed = (left[0]['committed'] if left
                         else 'Store.remove' in ended.events)
            self.recover(*['settled'] * len(left))
            self.assert_whole(guest, before, committed=committed)
            self._power_cycle_once(guest, left)
        return ended

    def _power_cycle_once(self, guest: guest_domain.Guest,
                          left: list[dict[str, ty.Any]]) -> None:
        """Power-cycle after the first kill in each step."""
        steps = [entry['step'] for finding in left
                 for entry in finding['steps']]
        if steps and steps[-1] not in self._cycled:
            self._cycled.add(steps[-1])
            self.power_cycle(guest)

    def assert_whole(self, guest: guest_domain.Guest, before: base.Seen, *,
                     committed: bool) -> None:
        """Assert that the guest is as before, and that all or nothing is."""
        self.assert_guest_untouched(guest, before,
                                    same_process=not self.COLD)
        self.assertEqual(libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK,
                         guest.agent_timeout())
        new = [image for image_id, image in self.images().items()
               if image_id not in self._images_before]
        self.assertEqual(['active'] * committed,
                         [image['status'] for image in new])
        self.assert_nothing_left(*[image['id'] for image in new])
        for image in new:
            path = self.download(image['id'])
            self.assertEqual(image['size'], path.stat().st_size)
            proof.assert_sound(path, image['disk_format'])
            path.unlink()
        self._delete_images()

    def power_cycle(self, guest: guest_domain.Guest) -> None:
        """Pull the plug and start it again: its definition must be good."""
        state = guest.domain.state()[0]
        since = len(guest.console())
        guest.destroy()
        guest.start()
        guest.wait_for(r'^REC \d+', timeout=guest_domain.BOOT_TIMEOUT,
                       since=since)
        self.await_agent(guest)
        if state == libvirt.VIR_DOMAIN_PAUSED:
            guest.domain.suspend()

    # Guests, and what others do to them

    def agent_guest(self) -> guest_domain.Guest:
        """Return a guest whose agent answers."""
        guest = self.guest(shared=True, agent='run')
        self.await_agent(guest)
        return guest

    def image_create(self, guest: guest_domain.Guest,
                     template: tuple[str, ...]) -> tuple[str, ...]:
        """Put a guest's name into arguments of the command."""
        return tuple(word.format(guest.spec.name) for word in template)

    def limit(self, bandwidth: int) -> None:
        """Let the command read and write no faster, bytes per second."""
        self.options['nova_snap']['bandwidth'] = str(bandwidth)

    def hard_reboot(self, guest: guest_domain.Guest) -> None:
        """Destroy, undefine, define and start, as Nova's hard reboot does.

        The new definition has a description that the old one had not.
        """
        since = len(guest.console())
        guest.destroy()
        guest.undefine()
        with self.lab.libvirtd.connection() as connection:
            connection.defineXML(guest.xml.replace(
                '</uuid>', '</uuid><description>rebooted</description>'))
        guest.start()
        guest.wait_for(r'^REC \d+', since=since)
        self.await_agent(guest)

    def assert_undefined(self, guest: guest_domain.Guest) -> None:
        """Assert that libvirt does not know a guest."""
        exc = self.assertRaises(libvirt.libvirtError, lambda: guest.domain)
        self.assertEqual(libvirt.VIR_ERR_NO_DOMAIN, exc.get_error_code())

    def assert_off(self, guest: guest_domain.Guest) -> None:
        """Assert that a guest is defined and nothing else."""
        self.assertTrue(guest.domain.isPersistent())
        self.assertFalse(guest.domain.isActive())
        self.assertFalse(guest.domain.hasManagedSaveImage())

    def await_agent(self, guest: guest_domain.Guest) -> None:
        """Wait until the guest's agent answers, if it has one."""
        if guest.spec.agent is not None:
            process.wait_until(
                lambda: "state='connected'" in guest.domain.XMLDesc(),
                timeout=AGENT_TIMEOUT, what='the guest agent')

    @contextlib.contextmanager
    def saying(self, where: str) -> ty.Iterator[None]:
        """Name the point of a kill in whatever goes wrong there."""
        started = time.monotonic()
        try:
            yield
        except BaseException:
            print(f'killed at {where}', file=sys.stderr)
            raise
        finally:
            if os.environ.get('NOVA_SNAP_VERBOSE'):
                print(f'{time.monotonic() - started:5.1f} s {where}',
                      file=sys.stderr)

    def _has_record(self) -> bool:
        return bool(list(self.journal.glob('records/*.json')))

    def _orphans(self) -> list[str]:
        """List the command lines that work in our scratch directories."""
        found = []
        for command_line in PROC.glob('[0-9]*/cmdline'):
            with contextlib.suppress(OSError):
                words = command_line.read_bytes().decode(errors='replace')
                if 'qemu-img' in words and str(self.snapshots) in words:
                    found.append(words)
        return found
