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

"""Both of Nova's kinds of threads.

The other tests here run in the kind that nova-compute of their release uses
by itself; eventlet's has a process of its own here, in each of them.
"""

import concurrent.futures
import os
import subprocess
import sys
import threading

from nova import exception
import nova.privsep.path
from oslo_privsep import priv_context
from oslotest import base

from nova_snap.driver import natively
from tests.with_nova import scene

IMAGE = scene.IMAGE


class EventletTestCase(base.BaseTestCase):

    def test_the_hub_goes_on(self):
        ended = subprocess.run(
            [sys.executable, '-W', 'ignore', '-m', 'testtools.run',
             'tests.with_nova.hub'], capture_output=True, text=True,
            timeout=scene.PROCESS_SECONDS, check=False,
            env={**os.environ, 'OS_NOVA_DISABLE_EVENTLET_PATCHING': '0'})
        self.assertEqual(0, ended.returncode, ended.stdout + ended.stderr)
        self.assertIn('Ran 7 tests', ended.stdout)


class OurOwnTestCase(scene.SceneTestCase):
    """What of the process is Nova's and not ours."""

    def test_no_privileges_but_novas(self):
        made = []
        self.useFixture(scene.fixtures.MonkeyPatch(
            'oslo_privsep.priv_context.PrivContext.__init__',
            lambda context, *args, **kwargs: made.append(args)))
        used = []
        chown = nova.privsep.path.chown
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova.privsep.path.chown',
            lambda *args, **kwargs: (used.append(args),
                                     chown(*args, **kwargs))))
        self.snapshot(self.start_driver())
        self.assertEqual([], made)
        self.assertEqual(1, len(used))
        self.assertIsInstance(nova.privsep.sys_admin_pctxt,
                              priv_context.PrivContext)

    def test_two_at_once_of_one_instance(self):
        self.flags(lock_timeout=0, group='nova_snap')
        driver = self.start_driver()
        under_way, go_on = threading.Event(), threading.Event()

        def wait(words):
            if words.startswith('PUT'):
                under_way.set()
                go_on.wait(scene.PATIENCE_SECONDS)

        self.glance.then = wait
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = pool.submit(self.snapshot, driver)
            self.assertTrue(under_way.wait(scene.PATIENCE_SECONDS))
            try:
                self.assertRaisesRegex(
                    exception.NovaException, 'another operation',
                    self.snapshot, driver)
            finally:
                go_on.set()
            first.result()
        self.assert_guest_whole()

    def test_this_releases_own_kind_is_used(self):
        patched = natively._eventlet() is not None
        self.assertEqual(
            os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] == '0', patched)
