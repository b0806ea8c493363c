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

"""Snapshots in nova-compute's eventlet mode, in a process of their own.

One real thread has the hub, which must go on: a heartbeat tells. libvirt and
qemu-img are slow here in a way that no monkey-patching can help.
"""

import contextlib
import itertools
import os
import pathlib
import shutil
import subprocess
import time

import eventlet
import eventlet.patcher
import eventlet.tpool
import fixtures
from keystoneauth1.identity import base as ksa_identity
from nova.image import glance as nova_glance
from nova import service_auth

from nova_snap import clock as clock_module
from nova_snap.driver import devices
from nova_snap.driver import translation
from nova_snap import units
from tests.fakes import calls as fake_calls
from tests.fakes import libvirtd as fake_libvirtd
from tests.with_nova import scene
from tests.with_nova import wire

CLOCK = clock_module.Clock
QEMU_IMG = devices.NovaQemuImg

# Seconds. Whatever blocks the hub blocks it for as long as it takes.
BEAT = 0.02
CONVERT = 3
LIBVIRT_CALL = 3
UPLOAD_PAUSE = 0.02
# What Keystone takes for a token.
SIGN_IN = 0.05
# The longest silence of the heart, on a machine that has other things to do.
SILENCE = 2
DISK_BYTES = 4 * units.MiB

SLOW_QEMU_IMG = """#!/bin/sh
[ "$1" != convert ] || sleep {seconds}
exec {program} "$@"
"""


class HubTestCase(scene.SceneTestCase):
    """A guest whose libvirt is behind proxies of eventlet's."""

    def make_guest(self, folder):
        super().make_guest(folder)
        for name, new in (
                ('nova_snap.clock.Clock', CLOCK),
                ('nova.virt.libvirt.host.Host._get_libvirt_proxy_classes',
                 staticmethod(lambda module: (wire.Connection,
                                              fake_libvirtd.Handle)))):
            self.useFixture(fixtures.MonkeyPatch(name, new))


class EndTestCase(HubTestCase):
    """A thread hears how a mirror ended, and wakes no thread of ours."""

    def setUp(self):
        super().setUp()
        self.driver = self.start_driver()
        connection = self.driver._host.get_connection()
        self.assertIsInstance(connection, eventlet.tpool.Proxy)

    def test_a_snapshot_that_goes_well(self):
        self.snapshot(self.driver)
        self.assertEqual('active',
                         self.glance.images[scene.IMAGE]['status'])
        self.assertEqual({}, self.fake.libvirtd.listeners)
        self.assert_guest_whole()

    def test_a_snapshot_that_fails(self):
        self.guest.mirror_life.fails_at_end = 'No space left on device'
        self.assertRaises(translation.SnapshotFailed, self.snapshot,
                          self.driver)
        self.assertEqual('queued',
                         self.glance.images[scene.IMAGE]['status'])
        self.assert_guest_whole()


class Token:
    """One that runs out at once, so that each use asks for another."""

    auth_token = 'service-token'

    @staticmethod
    def will_expire_soon(seconds):
        return True


class SlowKeystone(ksa_identity.BaseIdentityPlugin):
    """The plugin of [service_user]: one for all of nova-compute.

    Its lock, which a sign-in holds, is one of eventlet's.
    :source: keystoneauth1/identity/base.py get_access
    """

    def get_auth_ref(self, session, **kwargs):
        time.sleep(SIGN_IN)
        return Token()


class SignInTestCase(HubTestCase):
    """Nova signs in as a service while a snapshot does."""

    def setUp(self):
        super().setUp()
        self.send_service_token()
        keystone = SlowKeystone()
        self.useFixture(fixtures.MonkeyPatch(
            'keystoneauth1.loading.load_auth_from_conf_options',
            lambda *args, **kwargs: keystone))
        service_auth.reset_globals()
        self.signed_in = 0
        nova = eventlet.spawn(self.sign_in_again_and_again)
        self.addCleanup(nova.kill)

    def sign_in_again_and_again(self):
        session, auth = nova_glance._session_and_auth(self.context)
        while True:
            session.get_auth_headers(auth)
            self.signed_in += 1

    def test_neither_waits_for_ever(self):
        driver = self.start_driver()
        with eventlet.Timeout(scene.PATIENCE_SECONDS):
            self.snapshot(driver)
        self.assertEqual('active',
                         self.glance.images[scene.IMAGE]['status'])
        before = self.signed_in
        with eventlet.Timeout(scene.PATIENCE_SECONDS):
            while self.signed_in == before:
                eventlet.sleep(BEAT)


class GoesOnTestCase(HubTestCase):
    """The hub goes on while something takes its time."""

    def make_guest(self, folder):
        super().make_guest(folder)
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.driver.devices.NovaQemuImg', QEMU_IMG))

    def slow_libvirt(self):
        """Let a call of libvirt block its real thread."""
        sleep = eventlet.patcher.original('time').sleep
        self.calls.then('fsFreeze', lambda: sleep(LIBVIRT_CALL),
                        fake_calls.When.BEFORE)

    def slow_qemu_img(self):
        """Give the guest, which is off, a real disk, and a slow qemu-img."""
        self.guest.destroy()
        program = shutil.which('qemu-img')
        raw = self.fake.folder / 'raw'
        raw.write_bytes(os.urandom(DISK_BYTES))
        subprocess.run([program, 'convert', '-f', 'raw', '-O', 'qcow2', raw,
                        self.fake.disks[0]], check=True)
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        script = folder / 'qemu-img'
        script.write_text(SLOW_QEMU_IMG.format(seconds=CONVERT,
                                               program=program))
        script.chmod(0o755)
        self.useFixture(fixtures.EnvironmentVariable(
            'PATH', f'{folder}:{os.environ["PATH"]}'))

    @contextlib.contextmanager
    def heart_beats(self, at_least):
        """Assert that the hub goes on, for so many seconds at least."""
        beats = [time.monotonic()]

        def beat():
            while True:
                eventlet.sleep(BEAT)
                beats.append(time.monotonic())

        heart = eventlet.spawn(beat)
        try:
            yield
        finally:
            heart.kill()
        beats.append(time.monotonic())
        self.assertGreater(beats[-1] - beats[0], at_least)
        silences = [b - a for a, b in itertools.pairwise(beats)]
        self.assertLess(max(silences), SILENCE)

    def test_it_is_the_mode_that_is_meant(self):
        self.assertTrue(eventlet.patcher.is_monkey_patched('thread'))

    def test_while_it_converts_and_uploads(self):
        self.slow_qemu_img()
        self.glance.before_block = lambda: time.sleep(UPLOAD_PAUSE)
        driver = self.start_driver()
        with self.heart_beats(CONVERT):
            self.snapshot(driver)
        self.assertEqual('active',
                         self.glance.images[scene.IMAGE]['status'])
        self.assertEqual(['qemu:///system'], self.libvirt.opened)

    def test_while_libvirt_answers(self):
        self.slow_libvirt()
        driver = self.start_driver()
        with self.heart_beats(LIBVIRT_CALL):
            driver.quiesce(self.context, self.instance,
                           self.instance.image_meta)
            self.assertTrue(self.guest.agent.frozen)
            driver.unquiesce(self.context, self.instance,
                             self.instance.image_meta)
        self.assert_guest_whole()
        self.assertEqual(['qemu:///system'], self.libvirt.opened)

    def test_the_watchdog(self):
        self.flags(quiesce_limit=1, group='nova_snap')
        driver = self.start_driver()
        driver.quiesce(self.context, self.instance,
                       self.instance.image_meta)
        with eventlet.Timeout(scene.PATIENCE_SECONDS):
            while self.guest.agent.frozen:
                eventlet.sleep(BEAT)
        self.assertRaises(scene.QUIESCE_FAILED, driver.unquiesce,
                          self.context, self.instance,
                          self.instance.image_meta)
        self.assert_guest_whole()
