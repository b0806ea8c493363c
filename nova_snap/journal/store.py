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

"""Records on the local disk: written whole and durably, or not at all.

A record carries domain XML with secrets: files are 0600 in a directory of
mode 0700. A process that runs as root writes as the owner of ``state_path``,
so that a nova-compute of the same node can settle what is left.
"""

import collections.abc as cabc
import contextlib
import json
import os
import pathlib
import uuid as uuid_module

from nova_snap import errors
from nova_snap import folder as folder_module
from nova_snap.journal import record as record_model

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
SUFFIX = '.json'
# A file of this suffix was never renamed to its place: it is no record.
PARTIAL_SUFFIX = '.partial'
MACHINE_ID = 'machine-id'


class Store:
    """The records below one directory.

    :param owner: uid and gid for all that is written, or None to leave them
    """

    def __init__(self, journal_dir: str,
                 owner: tuple[int, int] | None = None) -> None:
        self.path = pathlib.Path(journal_dir) / 'records'
        self._owner = owner

    def prepare(self) -> None:
        """Make the directory, and the id of the machine in it.

        :raises JournalError: when it cannot be made; nothing was written
        """
        journal_dir = self.path.parent
        try:
            if not journal_dir.is_dir():
                with folder_module.opened(journal_dir.parent) as above:
                    make_directory(above, journal_dir.name, self._owner)
            with folder_module.opened(journal_dir) as folder:
                make_directory(folder, self.path.name, self._owner)
                if not folder.has(MACHINE_ID):
                    _make_machine_id(folder)
        except OSError as exc:
            raise errors.JournalError(
                reason=f'The journal {self.path} cannot be made: {exc}. '
                       'Set [nova_snap]journal_dir to a directory that can '
                       'be written') from exc

    def machine_id(self) -> str:
        """Return the id of the machine whose journal this is.

        It is not that of /etc/machine-id. An image of a container has none,
        or brings the same one to every host, or another one with each
        release of the image.

        :returns: '' where no journal was made yet
        :raises JournalError: when it cannot be read
        """
        try:
            return read_text(self._machine_id_path).strip()
        except FileNotFoundError:
            return ''
        except (OSError, ValueError) as exc:
            raise errors.JournalError(
                reason=f'{self._machine_id_path} cannot be read: {exc}. '
                       'Without it no record is known to be ours') from exc

    def write(self, record: record_model.Record) -> None:
        """Replace the record on disk, atomically and durably.

        The file is on the disk before it gets its name, and the name is on
        the disk before this returns.

        :raises JournalError: when it cannot be written; the old one stands
        :source: rename(2), fsync(2)
        """
        target = self._path(record.id)
        partial = f'{record.instance_uuid}.{record.id}{PARTIAL_SUFFIX}'
        try:
            text = json.dumps(record.to_dict(), indent=1, sort_keys=True)
            with folder_module.opened(self.path) as folder:
                replace_text(folder, target.name, partial, text)
        except (OSError, TypeError, ValueError) as exc:
            raise errors.JournalError(
                reason=f'Record {target} cannot be written: {exc}. Make room '
                       'where [nova_snap]journal_dir is, and let it be '
                       'written') from exc

    def remove(self, record_id: str) -> None:
        """Forget a record; one that is gone is fine.

        What a killed process had half written of it goes as well.

        :raises JournalError: when it cannot be removed
        """
        target = self._path(record_id)
        try:
            with folder_module.opened(self.path) as folder:
                folder.remove_files(lambda name: name.endswith(
                    f'.{record_id}{PARTIAL_SUFFIX}'))
                folder.remove(target.name)
                folder.sync()
        except OSError as exc:
            raise errors.JournalError(
                reason=f'Record {target} cannot be removed: '
                       f'{exc}') from exc

    def remove_partials(self, is_held: cabc.Callable[[str], bool]) -> None:
        """Forget what killed processes had half written of new records.

        Such a record was never there: nothing had been done yet.

        :param is_held: tells whether a living process holds an instance
        :raises JournalError: when one cannot be removed
        """
        try:
            with folder_module.opened(self.path) as folder:
                folder.remove_files(
                    lambda name: name.endswith(PARTIAL_SUFFIX)
                    and not is_held(name.partition('.')[0]))
        except OSError as exc:
            raise errors.JournalError(
                reason=f'The journal {self.path} cannot be tidied: {exc}'
            ) from exc

    def read(self, record_id: str) -> record_model.Record:
        """Read one record.

        :raises JournalUnknownVersion: when another release wrote it
        :raises JournalError: when it is not there or cannot be read
        """
        path = self._path(record_id)
        try:
            data = json.loads(read_text(path))
        # The last one is Python's, about brackets without end.
        except (OSError, ValueError, RecursionError) as exc:
            raise errors.JournalError(
                reason=f'Record {path} cannot be read: {exc}') from exc
        record = record_model.Record.from_dict(data, str(path))
        if record.id != record_id:
            # Settled, another file than this one would be removed.
            raise errors.JournalError(
                reason=f'Record {path} cannot be read: it is a copy of '
                       f'record {record.id}')
        return record

    def ids(self) -> list[str]:
        """Return the ids of all records, also of other hosts.

        :raises JournalError: when the directory cannot be read
        """
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise errors.JournalError(
                reason=f'The journal {self.path} cannot be read: {exc}'
            ) from exc
        return sorted(name.removesuffix(SUFFIX) for name in names
                      if name.endswith(SUFFIX))

    def read_all(self) -> cabc.Iterator[
            record_model.Record | errors.JournalError]:
        """Read every record; an unreadable one comes as its error.

        :raises JournalError: when the directory cannot be read
        """
        for record_id in self.ids():
            try:
                yield self.read(record_id)
            except errors.JournalError as exc:
                # Its owner may have finished between the two looks.
                if self._path(record_id).exists():
                    yield exc

    @property
    def _machine_id_path(self) -> pathlib.Path:
        return self.path.parent / MACHINE_ID

    def _path(self, record_id: str) -> pathlib.Path:
        return self.path / f'{record_id}{SUFFIX}'


def read_text(path: pathlib.Path) -> str:
    """Read a file, and not what a link in its place leads to.

    :raises OSError: when it is not there or cannot be read
    """
    with folder_module.opened(path.parent) as folder, \
            open(folder.open(path.name, os.O_RDONLY)) as file:
        return file.read()


def make_directory(folder: folder_module.Folder, name: str,
                   owner: tuple[int, int] | None) -> None:
    """Make a directory, durably; one that is there stays as it is.

    :raises OSError: when it cannot be made
    """
    # Another process may make it at the same moment.
    with contextlib.suppress(FileExistsError):
        folder.make(name, DIRECTORY_MODE, owner)
        folder.sync()


def replace_text(folder: folder_module.Folder, name: str, partial: str,
                 text: str) -> None:
    """Write a file whole and durably, or leave the one that is there.

    :param partial: its name until it is whole
    :raises OSError: when it cannot be written
    """
    # What a killed process left, or another user put there.
    folder.remove(partial)
    with _removing(folder, partial):
        _write(folder, partial, text)
        folder.replace(partial, name)
    folder.sync()


def _make_machine_id(folder: folder_module.Folder) -> None:
    """Make it whole or not at all; one that is there by then stays.

    :source: link(2): EEXIST
    """
    chosen = uuid_module.uuid4().hex
    partial = f'{MACHINE_ID}.{chosen}{PARTIAL_SUFFIX}'
    with _removing(folder, partial):
        _write(folder, partial, f'{chosen}\n')
        with contextlib.suppress(FileExistsError):
            folder.link(partial, MACHINE_ID)
    folder.sync()


@contextlib.contextmanager
def _removing(folder: folder_module.Folder,
              partial: str) -> cabc.Iterator[None]:
    """Remove a partial file after the block, if it still has that name."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            folder.remove(partial)


def _write(folder: folder_module.Folder, name: str, text: str) -> None:
    """Make a file, and wait until its bytes are on the disk."""
    with open(folder.create(name, FILE_MODE), 'w') as file:
        folder.give(file.fileno())
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
