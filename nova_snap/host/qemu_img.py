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

"""qemu-img, with every format named.

A format is never guessed, not even by qemu-img from a header: it may be the
guest that wrote the header. So a chain is opened by the description of all
its layers, and an overlay is made without a look at its backing file.
"""

import collections.abc as cabc
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import tempfile
import threading
import typing as ty

from oslo_concurrency import processutils
from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap import folder as folder_module
from nova_snap.host import file_systems
from nova_snap.host import interrupts
from nova_snap.host import layers
from nova_snap.model import first_bytes as first_bytes_model
from nova_snap.model import layer as layer_model
from nova_snap import units

# Killed with us, not left to write into a directory that recovery removes.
# :source: setpriv(1), prctl(2) PR_SET_PDEATHSIG
DIE_WITH_US = ('setpriv', '--pdeathsig', 'KILL', '--')
# The C locale, for messages that can be compared and searched for.
ENVIRONMENT = ('env', 'LC_ALL=C', 'LANG=C')
# A file may have millions of errors, a line each: the first ones do.
CHECK = ('qemu-img check -- "$1" 2>&1'
         f' | head -c {64 * units.KiB}')
CUT_SHORT = 'exceeding the end of the file'
CHECKED = 'were found on the image'
# How each fault begins.
FAULT = 'qemu-img: '
PROGRESS_SECONDS = 0.2
# Reads and writes under way at the same time, the most that qemu-img has. In
# vmdk and vdi the writes keep the disk's order: out of it they are no faster.
# :source: qemu-img(1) convert -m, -W
COROUTINES = '16'
OUT_OF_ORDER = ('raw', 'qcow2')
FILE_MODE = 0o600
# What stat(2) counts st_blocks in.
STAT_BLOCK = 512
# What QEMU counts disks in.
SECTOR = 512
PROC = '/proc'
# utime and stime, the 14th and 15th of the fields, of which two end with the
# name.
CPU_TICKS = slice(11, 13)

LOG = logging.getLogger(__name__)

# What QEMU does not take for a path: "nbd://...", "json:...".
# :source: QEMU block.c path_has_protocol
PROTOCOL = re.compile('[^/:]*:')

Progress = cabc.Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Info:
    """What ``qemu-img info`` says of one file.

    :ivar backing_file: the full name, None when there is none
    :ivar bitmaps: their names, also of those that are broken
    """

    format: str
    virtual_size: int
    backing_file: str | None
    backing_format: str | None
    data_file: str | None
    bitmaps: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Conversion:
    """How a flat image is made.

    :ivar compression: 'zlib' or 'zstd'; '' for none
    :ivar bandwidth: bytes per second, 0 for no limit
    :ivar expected: bytes it will take on disk, for the progress alone
    :ivar stall_timeout: seconds in which at least one byte is moved
    """

    image_format: str
    compression: str
    bandwidth: int
    expected: int
    stall_timeout: int


class QemuImg:
    """The calls of qemu-img that we allow ourselves.

    :param cpu_time: seconds of CPU for one look into a file
    :param address_space: bytes of memory for one look into a file
    """

    def __init__(self, cpu_time: int, address_space: int,
                 clock: clock_module.Clock | None = None) -> None:
        self._clock = clock or clock_module.Clock()
        # oslo.concurrency would start a Python for them, which takes five
        # times as long as the look.
        # :source: nova/privsep/qemu.py QEMU_IMG_LIMITS; prlimit(1)
        self._limits = ('prlimit', f'--cpu={cpu_time}',
                        f'--as={address_space}', '--')

    def info(self, path: str, image_format: str) -> Info:
        """Look at the header of a file that no guest has open.

        :raises StorageError: when it is not of this format, in use, absent,
            or so made that the look takes more than the limits
        """
        with layers.held((layer_model.Layer(path, image_format),)) as held, \
                _translated('look at', path, held):
            out, _ = _execute(*self._limits, 'qemu-img', 'info',
                              '--output=json', '-f', image_format,
                              held.chain[0].path)
        said = json.loads(out)
        specific = said.get('format-specific', {}).get('data', {})
        return Info(
            format=said['format'], virtual_size=int(said['virtual-size']),
            backing_file=_full(said.get('backing-filename'), path),
            backing_format=said.get('backing-filename-format'),
            data_file=specific.get('data-file'),
            bitmaps=tuple(bitmap['name']
                          for bitmap in specific.get('bitmaps', ())))

    def virtual_size(self, layer: layer_model.Layer) -> int:
        """Return the size of a raw disk that no guest has open, in bytes.

        :raises StorageError: when it is absent, or cannot be reached
        """
        with layers.held((layer,)) as held, \
                _translated('look at', layer.path, held):
            out, _ = _execute(*self._limits, 'qemu-img', 'info',
                              '--output=json', description(held.chain))
        return int(json.loads(out)['virtual-size'])

    def measure(self, chain: cabc.Sequence[layer_model.Layer]) -> int | None:
        """Return the bytes of a qcow2 image of a chain that no guest has.

        Zeros that were written count, as data do.

        :returns: None where qemu-img cannot tell, or not within the limits
        :source: qemu-img(1) measure
        """
        try:
            with layers.held(chain) as held:
                out, _ = _execute(
                    *self._limits, 'qemu-img', 'measure', '--output=json',
                    '-O', 'qcow2', description(held.chain))
            return int(json.loads(out)['required'])
        except (processutils.ProcessExecutionError, OSError, ValueError,
                KeyError, errors.StorageError) as exc:
            LOG.debug('%s is not measured: %s', chain[0].path, exc)
            return None

    def first_bytes(self, chain: cabc.Sequence[layer_model.Layer],
                    virtual_size: int) -> bytes:
        """Return how a disk begins, of a chain that no guest has open.

        :raises StorageError: when it cannot be read
        """
        size = min(virtual_size // SECTOR * SECTOR, first_bytes_model.LENGTH)
        # Nothing behind them is read.
        with layers.held(chain) as held, \
                _translated('look at', chain[0].path, held), \
                tempfile.NamedTemporaryFile() as file:
            beginning = {'driver': 'raw', 'size': size,
                         'file': describe(held.chain)}
            _execute(*self._limits, 'qemu-img', 'convert', '-O', 'raw',
                     'json:' + json.dumps(beginning), file.name)
            return file.read()

    def is_cut_short(self, path: str) -> bool:
        """Tell whether a qcow2 file ends before what its tables name.

        qemu-img converts such a file without an error, with zeros for what
        is missing.

        :raises StorageError: when that cannot be found out
        :source: QEMU block/qcow2-refcount.c qcow2_inc_refcounts_imrt
        """
        with layers.held((layer_model.Layer(path, 'qcow2'),)) as held, \
                _translated('check', path, held):
            # Not the layers below it, which its header names.
            out, _ = _execute(*self._limits, 'sh', '-c', CHECK, 'sh',
                              description(held.chain))
        if CUT_SHORT in out:
            return True
        if CHECKED not in out:
            raise errors.StorageError(
                reason=f'qemu-img could not check {path}: '
                       + held.explained(out.strip()))
        return False

    def remove_bitmap(self, path: str, name: str) -> None:
        """Remove a bitmap from a qcow2 file that no guest has open.

        One that is broken goes, too.

        :raises StorageError: when it is not there, or the file is in use
        :source: qemu-img(1) bitmap
        """
        with layers.held((layer_model.Layer(path, 'qcow2'),)) as held, \
                _translated(f'remove bitmap {name} from', path, held):
            _execute('qemu-img', 'bitmap', '--remove',
                     description(held.chain), name)

    def create_overlay(self, path: str, virtual_size: int,
                       backing: layer_model.Layer | None) -> None:
        """Make an empty qcow2 file over a backing file, or over nothing.

        :raises StorageError: when it cannot be made
        """
        command = ['qemu-img', 'create', '-q', '-f', 'qcow2']
        if backing is not None:
            # -u: the backing file is not opened, so nothing is read from
            # its header; its format is named and the size is ours.
            command += ['-u', '-F', backing.format, '-b', backing.path]
        with _made(path) as target, _translated('make', path, target=target):
            _execute(*command, target, str(virtual_size))

    def convert(self, chain: cabc.Sequence[layer_model.Layer], path: str,
                conversion: Conversion, *, progress: Progress) -> None:
        """Write a chain of layers, as the guest sees it, into one file.

        :raises StorageError: when it cannot; what is written is no image
        :source: nova/privsep/qemu.py unprivileged_convert_image
        """
        command = ['-O', conversion.image_format, '-m', COROUTINES]
        if conversion.image_format in OUT_OF_ORDER:
            command.append('-W')
        if conversion.compression:
            command += ['-c', '-o',
                        f'compression_type={conversion.compression}']
        if conversion.bandwidth:
            command += ['-r', str(conversion.bandwidth)]
        child = _Child(path, conversion, progress,
                       self._clock.stopwatch())
        with layers.held(chain) as held, _made(path) as target, \
                _translated('write', path, held, target=target), \
                child.watched():
            _execute(*DIE_WITH_US, 'qemu-img', 'convert',
                     '-t', _cache_mode(target), *command,
                     description(held.chain), target,
                     on_execute=child.started)


def describe(chain: cabc.Sequence[layer_model.Layer]) -> dict[str, ty.Any]:
    """Describe a chain so that QEMU opens it and reads no format anywhere.

    :source: QEMU qapi/block-core.json BlockdevOptions
    """
    node: dict[str, ty.Any] | None = None
    for layer in reversed(chain):
        below = node
        node = {'driver': layer.format, 'file': layer.protocol()}
        if layer.format == 'qcow2':
            node['backing'] = below
    assert node is not None
    return node


def description(chain: cabc.Sequence[layer_model.Layer]) -> str:
    """Return the description as QEMU's programs take it for a file."""
    return 'json:' + json.dumps(describe(chain))


def _full(backing: str | None, path: str) -> str | None:
    """Return a backing file as it is found from the file that names it.

    qemu-img, asked of a descriptor, would look for it among those.

    :source: QEMU block.c path_combine, path_has_protocol
    """
    if not backing or PROTOCOL.match(backing):
        return backing
    return os.path.join(os.path.dirname(path), backing)


def written_bytes(path: str) -> int:
    """Return what an image takes by now; 0 where that cannot be told."""
    with contextlib.suppress(OSError):
        return os.stat(path).st_blocks * STAT_BLOCK
    return 0


def _execute(*command: str,
             on_execute: cabc.Callable[[ty.Any], None] | None = None,
             **options: ty.Any) -> tuple[str, str]:
    """Run a command, and let nothing interrupt the fork."""
    def started(process: ty.Any) -> None:
        if on_execute is not None:
            on_execute(process)
        interrupts.allow()

    interrupts.defer()
    try:
        return processutils.execute(*ENVIRONMENT, *command,
                                    on_execute=started, **options)
    finally:
        interrupts.allow()


@contextlib.contextmanager
def _translated(verb: str, path: str, held: layers.Held | None = None, *,
                target: str | None = None) -> cabc.Iterator[None]:
    """Raise what qemu-img says as an error of ours.

    :param held: the layers that it was told to read
    :param target: the name of the file that it knows, where that is another
    """
    try:
        yield
    except processutils.ProcessExecutionError as exc:
        reason = _first_fault(exc.stderr or exc.stdout or str(exc))
        if held is not None:
            reason = held.explained(reason)
        raise errors.StorageError(
            reason=f'qemu-img could not {verb} {path}: '
                   + reason.replace(target or path, path)) from exc
    except OSError as exc:
        raise errors.StorageError(
            reason=f'qemu-img could not be run: {exc}. It is in the package '
                   'qemu-utils') from exc


def _first_fault(said: str) -> str:
    """Leave out what the other coroutines say when one has failed."""
    first, *more = said.strip().splitlines() or ['']
    return '\n'.join([first, *(line for line in more
                               if not line.startswith(FAULT))])


@contextlib.contextmanager
def _made(path: str) -> cabc.Iterator[str]:
    """Make the file before qemu-img does, which would let others read it.

    :returns: the name by which qemu-img opens this file and no other. Where
        the directory is another user's, it is that of our descriptor
    :raises StorageError: when it cannot be made, or is there already
    :source: proc(5), /proc/pid/fd
    """
    above, name = os.path.split(path)
    try:
        with folder_module.opened(above, follow=False) as folder:
            file = folder.create(name, FILE_MODE)
            is_anothers = folder.is_anothers
    except OSError as exc:
        raise errors.StorageError(
            reason=f'{path} cannot be made: {exc.strerror}') from exc
    try:
        yield f'{PROC}/{os.getpid()}/fd/{file}' if is_anothers else path
    finally:
        os.close(file)


class _Child:
    """A qemu-img that is looked after while it writes a file."""

    def __init__(self, path: str, conversion: Conversion,
                 progress: Progress,
                 still: clock_module.Stopwatch) -> None:
        self._path = path
        self._still = still
        self._conversion = conversion
        self._progress = progress
        self._process: ty.Any = None
        self._done = threading.Event()
        self._stopped: errors.SnapError | None = None

    def started(self, process: ty.Any) -> None:
        """Take note of the process; oslo.concurrency calls this."""
        self._process = process

    @contextlib.contextmanager
    def watched(self) -> cabc.Iterator[None]:
        """Report progress, and end the process when it must not go on.

        :raises StorageError: when it stood still for too long
        :raises SnapError: what the progress raised, to stop it
        """
        # A short one is not seen by the thread.
        self._progress(0, self._conversion.expected)
        thread = threading.Thread(target=self._watch, name='qemu-img',
                                  daemon=True)
        try:
            # An interrupt may come before this returns, too.
            thread.start()
            yield
        except BaseException as exc:
            # Interrupted we must not leave it behind, writing.
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                # Waits, and closes its pipes.
                self._process.communicate()
            if self._stopped is not None:
                raise self._stopped from exc
            raise
        finally:
            self._done.set()
            if thread.is_alive():
                thread.join()

    def _watch(self) -> None:
        last: str | None = None
        self._still.restart()
        while not self._done.wait(PROGRESS_SECONDS):
            expected = self._conversion.expected
            try:
                self._progress(min(written_bytes(self._path), expected),
                               expected)
            except errors.SnapError as exc:
                self._stop(exc)
            counters = self._counters()
            # What is not known is not standing still.
            if counters is None or counters != last:
                last = counters
                self._still.restart()
            elif self._still.seconds() > self._conversion.stall_timeout:
                self._stop(errors.StorageError(
                    reason=f'qemu-img moved no byte of {self._path} for '
                           f'{self._conversion.stall_timeout} s and was '
                           'ended'))

    def _stop(self, why: errors.SnapError) -> None:
        self._stopped = self._stopped or why
        if self._process is not None:
            self._process.kill()

    def _counters(self) -> str | None:
        """Return what the kernel counts of its work; None where it does not.

        That is its reads and writes, and where these are not to be read the
        time that it has computed: reading zeros takes some, and waiting for
        a storage none. Not the size of the file: it does not grow while
        zeros are read.

        :source: proc(5), /proc/pid/io (not with CONFIG_TASK_IO_ACCOUNTING
            off, nor of a process that may not be traced), /proc/pid/stat
        """
        if self._process is None:
            return None
        of_process = pathlib.Path(f'{PROC}/{self._process.pid}')
        with contextlib.suppress(OSError):
            return (of_process / 'io').read_text()
        with contextlib.suppress(OSError):
            # The name of the program is in brackets, and may hold any byte.
            fields = (of_process / 'stat').read_bytes().rpartition(b')')[2]
            return str(fields.split()[CPU_TICKS])
        return None


def _cache_mode(path: str) -> str:
    """Return how a file is written; it is on the disk at the end either way.

    :source: nova/privsep/qemu.py
    """
    return ('none' if file_systems.does_direct_io(path, os.O_WRONLY)
            else 'writeback')
