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

"""nova-compute is stopped during a snapshot, as systemd stops a service."""

import collections.abc
import time

from tests.e2e import checks
from tests.e2e import scene as scenes
from tests.e2e import server as server_module
from tests.e2e import waiting

# Seconds. Nova waits half a minute less for what is under way to end by
# itself, and leaves the rest to its driver.
# :source: nova/service.py _get_manager_shutdown_timeout,
# nova/compute/manager.py graceful_shutdown
GRACEFUL_SHUTDOWN = 40

# Bytes per second: the mirror of a guest that has just booted, of 3 MiB,
# takes longer than Nova waits for it.
CRAWLING = 128 << 10

# Seconds that the process may take beyond its own time-out, to end.
MARGIN = 10


def stop(scene: scenes.Scene) -> None:
    """A snapshot that takes too long is given up, and all put back.

    One that is faster than that may end instead.
    """
    stop_when(scene, server_module.Server.is_mirrored)


def stop_when(scene: scenes.Scene,
              look: collections.abc.Callable[[server_module.Server], object]
              ) -> None:
    """Stop nova-compute when there is a block job to be seen."""
    cloud, server = scene.cloud, scene.server()
    qemu_pid = server.qemu_pid()
    with scenes.watching(lambda: look(server), cloud.compute.terminate,
                         timeout=scenes.MOMENT_TIMEOUT, what='a block job'):
        before = server.last_record()
        scene.run('nova', 'image-create', server.id, 'stopped')
    began = time.monotonic()
    try:
        waiting.wait_until(
            lambda: cloud.compute.pid is None, what='end of nova-compute',
            timeout=GRACEFUL_SHUTDOWN + MARGIN)
        took = time.monotonic() - began
        # No process is there that could mend it.
        after = server.last_record()
        checks.is_whole(server, qemu_pid)
        checks.nothing_is_left(cloud, timeout=0)
        checks.expect(took <= GRACEFUL_SHUTDOWN, f'it took {took:.0f} s')
    finally:
        cloud.compute.end()
        cloud.compute.start()
        cloud.wait_compute()
    server.wait_status('ACTIVE')
    if scene.image_names():
        scene.prove(scenes.Taken(scene.wait_image('stopped'), before, after))
