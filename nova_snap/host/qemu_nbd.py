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

"""qemu-nbd: a chain of layers that can be read while it is at rest.

Formats are named as for qemu-img, see there. It reads only, it dies with us,
and QEMU's locks keep a guest from the layers as long as it runs.
"""

import collections.abc as cabc
import contextlib
import os
import socket
import subprocess
import tempfile
import typing as ty

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap import folder as folder_module
from nova_snap.host import file_systems
from nova_snap.host import interrupts
from nova_snap.host import layers
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.model import layer as layer_model

# Seconds. It opens the layers first, and a loaded host takes its time.
START_TIMEOUT = 60
# Seconds between two looks whether it listens: the first, and the longest.
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5
# What env(1) and setpriv(1) end with where there is no such program.
NOT_FOUND = 127
# A socket is connected to by those who may write to it.
UMASK = 0o077
# Bytes of its last words that an error repeats.
LAST_WORDS = 2000
# Past the page cache, which holds nothing of a disk that its guest reads past
# it, too: half the CPU time, and no other file has to go from there.
# :source: qemu-nbd(8); nova/virt/libvirt/driver.py disk_cachemode
DIRECT = ('--cache=none', '--aio=native')


class QemuNbd:
    """The one call of qemu-nbd that we allow ourselves."""

    def __init__(self, clock: clock_module.Clock | None = None) -> None:
        self._clock = clock or clock_module.Clock()

    @contextlib.contextmanager
    def serving(self, chain: cabc.Sequence[layer_model.Layer],
                path: str) -> cabc.Iterator[str]:
        """Serve a chain on a unix socket for the block, to any number.

        The block gets the path to connect to: another one where that of the
        socket is too long for one.

        :param chain: layers that nothing writes to, the active one first
        :param path: of the socket, which must not be there
        :raises StorageError: when a layer cannot be opened, or is in use
        """
        above, name = os.path.split(path)
        with contextlib.ExitStack() as opened:
            try:
                folder = opened.enter_context(
                    folder_module.opened(above, follow=False))
            except OSError as exc:
                raise errors.StorageError(
                    reason=f'{path} cannot be made: {exc.strerror}') from exc
            words = opened.enter_context(tempfile.TemporaryFile())
            where = folder.for_another_program(name, path)
            if len(os.fsencode(where)) >= layer_model.LONGEST_SOCKET:
                where = folder.through_us(name)
            held = opened.enter_context(layers.held(chain))
            process = _start(held.chain, where, words)
            opened.callback(_remove, folder, name)
            opened.callback(process.wait)
            opened.callback(process.kill)
            said = self._said_before_it_listens(process, where, words)
            if said is not None:
                raise errors.StorageError(
                    reason=f'qemu-nbd could not serve {path}: '
                           + held.explained(said))
            yield where

    def _said_before_it_listens(self, process: subprocess.Popen[bytes],
                                where: str,
                                words: ty.IO[bytes]) -> str | None:
        """Wait until it listens, and return None, or why it does not."""
        for _ in self._clock.looks(
                START_TIMEOUT, first_pause=FIRST_PAUSE,
                longest_pause=LONGEST_PAUSE):
            if process.poll() is not None:
                break
            if _listens(where):
                return None
        words.seek(0)
        said = words.read(LAST_WORDS).decode(errors='replace').strip()
        if process.returncode == NOT_FOUND:
            said += '. It is in the package qemu-utils'
        return said or f'it does not listen after {START_TIMEOUT} s'


def _start(chain: cabc.Sequence[layer_model.Layer], path: str,
           words: ty.IO[bytes]) -> subprocess.Popen[bytes]:
    command = (*qemu_img_module.DIE_WITH_US, *qemu_img_module.ENVIRONMENT,
               'qemu-nbd', '--read-only', '--persistent', '--shared=0',
               *(DIRECT if all(
                   file_systems.does_direct_io(layer.path, os.O_RDONLY)
                   for layer in chain if layer.is_local) else ()),
               f'--socket={path}', qemu_img_module.description(chain))
    interrupts.defer()
    try:
        # Not our own pipes: what waits for their end would wait for it.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                stdout=words, stderr=words,
                                umask=UMASK)
    except OSError as exc:
        raise errors.StorageError(
            reason=f'qemu-nbd could not be run: {exc}. It is in the package '
                   'qemu-utils') from exc
    finally:
        interrupts.allow()


def _remove(folder: folder_module.Folder, name: str) -> None:
    """Remove a socket that nothing listens on any more.

    All that was to be read may have been read by then. Where this fails, to
    remove the scratch directory fails as well, and that is an error of its
    own: this one would hide it, or undo an image that is whole.
    """
    with contextlib.suppress(OSError):
        folder.remove(name)


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
