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

"""The command in children, from the campaign's side."""

import collections.abc as cabc
import contextlib
import dataclasses
import pathlib
import shutil
import socket
import threading
import typing as ty

from tests.faults import calls as calls_module
from tests.faults import child
from tests.lab import forks
from tests.lab import place

KILLED = -9
# By the alarm that ends a child which has no end of its own.
ENDLESS = -14

Act = cabc.Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a child ended.

    :ivar code: its exit code; negative for a signal
    :ivar calls: it made, in order
    :ivar struck: what was ordered has happened
    """

    code: int
    stdout: str
    stderr: str
    calls: tuple[calls_module.Call, ...]
    struck: bool


class Children:
    """The process that runs all children, one after the other.

    :ivar said: what each has printed is put there
    """

    def __init__(self, folder: pathlib.Path, said: list[str]) -> None:
        self.folder = folder
        self.said = said
        self._server = forks.Server(child.__name__, child.LIFE_SECONDS)

    def run(self, *argv: str, **order: ty.Any) -> Ended:
        """Run one child to its end.

        :param order: other fields of ``child.Order``
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        folder = place.make_dir(self.folder)
        code = self._server.run(dataclasses.asdict(child.Order(
            list(argv), str(folder), **order)))
        calls = folder / 'calls'
        stdout, stderr = ((folder / name).read_text(errors='replace')
                          for name in ('stdout', 'stderr'))
        self.said += [stdout, stderr]
        return Ended(
            code, stdout, stderr,
            tuple(calls_module.read(calls.read_text().splitlines()))
            if calls.exists() else (), (folder / 'struck').exists())

    def stop(self) -> None:
        """End them all."""
        self._server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def acting(path: pathlib.Path, act: Act) -> cabc.Iterator[None]:
    """Do what a child asks for, while that waits, for the block.

    :raises Exception: of an act that failed
    """
    path.unlink(missing_ok=True)
    failures: list[Exception] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=_serve, daemon=True,
                                  args=(listening, act, failures))
        thread.start()
        try:
            yield
        finally:
            # Wakes the thread, which a close does not.
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
    for failure in failures:
        raise failure


def _serve(listening: socket.socket, act: Act,
           failures: list[Exception]) -> None:
    while True:
        try:
            asking, _ = listening.accept()
        except OSError:
            return
        with asking:
            words = asking.makefile().readline().strip()
            try:
                act(words)
            except Exception as exc:
                failures.append(exc)
            with contextlib.suppress(OSError):
                asking.sendall(b'.')
