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

"""The real file system and the real journal, with every call counted."""

import collections
import collections.abc as cabc
import functools
import inspect
import os
import shutil
import typing as ty

from nova_snap import errors
from nova_snap.host import files as files_module
from nova_snap.journal import checkpoints as checkpoints_module
from nova_snap.journal import record as record_model
from nova_snap.journal import store as store_module
from tests.fakes import calls as fake_calls
from tests.fakes import disk as fake_disk

Free: ty.TypeAlias = int | cabc.Callable[[], int] | None

FILES = 'files'
JOURNAL = 'journal'

# What only looks, and whether it can fail; the others have an answer for
# everything.
LOOKS = {'free_bytes': True, 'allocated_bytes': True, 'file_id': True,
         'first_bytes': True, 'is_held': False,
         'changed_at': True, 'exists': False, 'file_system': True,
         'is_missing': False, 'written_bytes': False,
         'is_block_device': False, 'head_of_cached': False,
         'shows_locks': False}


class FakeFiles(files_module.Files):
    """The real one.

    :param free: bytes that are free wherever it looks, or what tells them;
        None for what is so
    :param block_devices: files that are to be taken for one
    :param held: tells by device and inode what QEMUs have open
    :param has_clones: its file system has; none that a test lies on need
    """

    def __init__(self, calls: fake_calls.Calls,
                 free: Free,
                 block_devices: cabc.Collection[str] = (),
                 held: cabc.Callable[
                     [], set[tuple[int, int]]] = set, *,
                 has_clones: bool = False) -> None:
        super().__init__()
        self._has_clones = has_clones
        self._held = held
        self._block_devices = block_devices
        self._free = free
        for name, method in inspect.getmembers(self, inspect.ismethod):
            # That one asks the others.
            if not name.startswith('_') and name != 'has_layer':
                setattr(self, name, _counted(calls, name, method))

    def free_bytes(self, path: str) -> int:
        if callable(self._free):
            return self._free()
        return super().free_bytes(path) if self._free is None else self._free

    def first_bytes(self, path: str) -> bytes:
        return fake_disk.DiskFile.load(path).first_bytes()

    def head_of_cached(self, path: str, cache: str) -> bytes | None:
        if super().head_of_cached(path, cache) is None:
            return None
        return fake_disk.DiskFile.load(path).head()

    def clone(self, path: str, target: str) -> bool:
        if self._has_clones:
            shutil.copyfile(path, target)
        return self._has_clones

    def is_held(self, path: str) -> bool:
        try:
            figures = os.stat(path)
        except FileNotFoundError:
            return False
        return (figures.st_dev, figures.st_ino) in self._held()

    def shows_locks(self, path: str) -> bool:
        return bool(self._held())

    def is_block_device(self, path: str) -> bool:
        return path in self._block_devices


def _counted(calls: fake_calls.Calls, name: str,
             method: cabc.Callable[..., ty.Any]) -> cabc.Callable[
                 ..., ty.Any]:
    def error() -> Exception:
        return errors.StorageError(reason=f'{name}: planted')

    @functools.wraps(method)
    def call(path: str, *more: ty.Any) -> ty.Any:
        return calls.make(
            FILES,
            name,
            lambda: method(path, *more),
            words=_words(path),
            changes=name not in LOOKS,
            error=error if LOOKS.get(name, True) else None,
        )

    return call


def _words(path: str) -> str:
    """Name a file; the directories of ours have ids in their names."""
    name = os.path.basename(path)
    return '' if name.startswith(files_module.SCRATCH_PREFIX) else name


class FakeStore(store_module.Store):
    """The real one; a record that is written says what is new in it."""

    def __init__(self, journal_dir: str, calls: fake_calls.Calls) -> None:
        super().__init__(journal_dir)
        self._calls = calls
        self._known: dict[str, list[str]] = {}

    def write(self, record: record_model.Record) -> None:
        lines = _lines(record)
        if record.id in self._known:
            known = self._known[record.id]
        else:
            known = (_lines(self.read(record.id))
                     if record.id in self.ids() else None)
        new = ['begin'] if known is None else list(
            (collections.Counter(lines) - collections.Counter(known))
            .elements())
        self._known[record.id] = lines
        self._calls.make(JOURNAL, 'write', lambda: super(
            FakeStore, self).write(record), words=', '.join(new),
            error=_broken)

    def remove(self, record_id: str) -> None:
        self._calls.make(JOURNAL, 'remove', lambda: super(
            FakeStore, self).remove(record_id), error=_broken)


class FakeCheckpoints(checkpoints_module.Checkpoints):
    """The real ones; each write is a call."""

    def __init__(self, journal_dir: str, calls: fake_calls.Calls) -> None:
        super().__init__(journal_dir)
        self._calls = calls

    def write(self, uuid: str, kept: dict[str, ty.Any] | None) -> None:
        self._calls.make(JOURNAL, 'keep', lambda: super(
            FakeCheckpoints, self).write(uuid, kept),
            words='' if kept else 'nothing', error=_broken)


def _lines(record: record_model.Record) -> list[str]:
    return [*(['commit'] if record.committed else []),
            *(f'{entry.kind} {entry.phase}' for entry in record.entries)]


def _broken() -> errors.JournalError:
    return errors.JournalError(reason='planted')
