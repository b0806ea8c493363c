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

"""The layers of a disk, for another program to read."""

import collections.abc as cabc
import contextlib
import dataclasses

from nova_snap import errors
from nova_snap.host import rbd_faults
from nova_snap import lookup
from nova_snap.model import layer as layer_model


class Held:
    """A chain as another program opens it.

    :ivar chain: with the paths that it gets
    """

    def __init__(self, chain: cabc.Iterable[layer_model.Layer],
                 held: contextlib.ExitStack) -> None:
        chain = tuple(chain)
        self._active = chain[0]
        self._paths: dict[str, str] = {}
        self.chain = tuple(
            self._hold(layer, held) if layer.is_local else layer
            for layer in chain)

    def _hold(self, layer: layer_model.Layer,
              held: contextlib.ExitStack) -> layer_model.Layer:
        try:
            path = held.enter_context(
                lookup.for_another_program(layer.path))
        except OSError as exc:
            raise errors.StorageError(
                reason=f'{layer.path} cannot be read: {exc.strerror}'
            ) from exc
        self._paths[path] = layer.path
        return dataclasses.replace(layer, path=path)

    def explained(self, words: str) -> str:
        """Return what the program says, with the paths that we know.

        And with what a fault of Ceph means.
        """
        for path, known in self._paths.items():
            words = words.replace(path, known)
        return rbd_faults.explained(words, self._active)


@contextlib.contextmanager
def held(chain: cabc.Iterable[layer_model.Layer]) -> cabc.Iterator[Held]:
    """Hold the files of a chain for the block.

    :raises StorageError: when one cannot be read, or its path leads where
        root must not follow
    """
    with contextlib.ExitStack() as opened:
        yield Held(chain, opened)
