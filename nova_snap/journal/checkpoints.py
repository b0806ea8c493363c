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

"""What is kept of guests whose changes are known, from image to image.

One small file a guest, next to the records, written whole and durably. It is
of this host alone: a guest that comes from another begins anew. Nothing is
lost with a file but time.
"""

import json
import os
import pathlib
import typing as ty

from nova_snap import errors
from nova_snap import folder as folder_module
from nova_snap.journal import store as store_module

DIRECTORY = 'checkpoints'


class Checkpoints:
    """The files below one directory.

    :param owner: uid and gid for all that is written, or None to leave them
    """

    def __init__(self, journal_dir: str,
                 owner: tuple[int, int] | None = None) -> None:
        self._above = pathlib.Path(journal_dir)
        self._path = self._above / DIRECTORY
        self._owner = owner

    def read(self, uuid: str) -> dict[str, ty.Any] | None:
        """Return what is kept of a guest; None for nothing.

        What cannot be read is none either: the next image begins anew.
        """
        try:
            found = json.loads(store_module.read_text(
                self._path / f'{uuid}{store_module.SUFFIX}'))
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def write(self, uuid: str, kept: dict[str, ty.Any] | None) -> None:
        """Keep this of a guest from now on; None is nothing.

        :raises JournalError: when it cannot be written; what was stands
        """
        try:
            with folder_module.opened(self._above) as above:
                store_module.make_directory(above, DIRECTORY, self._owner)
            with folder_module.opened(self._path) as folder:
                name = f'{uuid}{store_module.SUFFIX}'
                if kept is None:
                    folder.remove(name)
                    folder.sync()
                else:
                    store_module.replace_text(folder, name, f'{uuid}.partial',
                                              json.dumps(kept, indent=1))
        except OSError as exc:
            raise errors.JournalError(
                reason=f'{self._path} cannot be written: {exc}. Make room '
                       'where [nova_snap]journal_dir is, and let it be '
                       'written') from exc

    def guests(self) -> list[str]:
        """Return the UUIDs of all of which something is kept."""
        try:
            names = os.listdir(self._path)
        except OSError:
            return []
        return sorted(name.removesuffix(store_module.SUFFIX)
                      for name in names
                      if name.endswith(store_module.SUFFIX))
