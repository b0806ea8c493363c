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

"""What a customer notices of a snapshot under way, and what not."""

import dataclasses
import time

from tests.e2e import checks
from tests.e2e import scene as scenes
from tests.lab import proxy

# Seconds after which the user's token alone is refused.
TOKEN_LIFE = 2

# Seconds between two looks at a server.
LOOK = 0.2


def progress(scene: scenes.Scene) -> None:
    """A server's details say how far its snapshot is."""
    server = scene.server()
    qemu_pid = server.qemu_pid()
    seen = []
    before = server.last_record()
    scene.run('nova', 'image-create', server.id, 'progress')
    while (now := server.details()).task_state is not None:
        seen.append(now.progress or 0)
        time.sleep(LOOK)
    taken = scenes.Taken(scene.wait_image('progress'), before,
                         server.last_record())
    # The first look may see what an earlier snapshot ended with.
    steps = sorted({value for value in seen[1:] if 0 < value < 100})
    checks.expect(len(steps) >= 2, f'the progress was {seen}')
    checks.is_whole(server, qemu_pid)
    scene.prove(taken)
    checks.nothing_is_left(scene.cloud)


@dataclasses.dataclass
class _Expired(proxy.Fault):
    """Refuses the user's token alone, once it is old.

    :ivar since: when the token was new, on the monotonic clock
    """

    since: float = 0.0

    def strikes(self, seen: proxy.Seen) -> bool:
        """Tell whether a request has nothing better."""
        names = {name.lower() for name in seen.headers}
        return 'x-service-token' not in names and \
            time.monotonic() > self.since + TOKEN_LIFE


def token_expires(scene: scenes.Scene) -> None:
    """A token that expires during the upload does no harm."""
    server = scene.server()
    qemu_pid = server.qemu_pid()
    scene.between.inject(_Expired('', '', nth=None, status=401,
                                  since=time.monotonic()))
    taken = scene.take(server, 'token')
    uploads = scene.between.requests('PUT', proxy.FILE)
    checks.expect([seen.status for seen in uploads] == [204],
                  f'the uploads were {uploads}')
    checks.is_whole(server, qemu_pid)
    scene.prove(taken)
    checks.nothing_is_left(scene.cloud)
