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

"""What the operator sees: a bar on a terminal, quiet lines otherwise.

A reader may go away, as head(1) does at the end of a pipe or a terminal at
the end of its session. What is written on standard error is then lost; a list
that cannot be printed is a failure; and what was done stays done.
"""

import collections.abc as cabc
import contextlib
import dataclasses
import enum
import io
import json
import os
import sys
import time
import typing as ty

from nova_snap import errors
from nova_snap.model import phase as phase_model
from nova_snap import units

BAR_WIDTH = 30
# Where a terminal does not say how wide it is.
# :source: Python, Lib/shutil.py get_terminal_size
TERMINAL_WIDTH = 80
# A terminal is redrawn so often; more only flickers.
REDRAW_SECONDS = 0.1

Phase = phase_model.Phase

PHASES = {
    Phase.MIRROR: 'Copying the active layer',
    Phase.CONVERT: 'Writing the flat image',
    Phase.UPLOAD: 'Uploading to Glance',
    Phase.FLATTEN: 'Copying within Ceph',
    Phase.HASH: 'Hashing the image',
    Phase.VOLUMES: 'Snapshotting the volumes',
}


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class OutputLost(errors.SnapError):
    """What was to be printed cannot be.

    :ivar is_unread: its reader has gone, and needs no message
    """

    template = 'Standard output cannot be written: %(reason)s'

    is_unread: bool = False


def open_closed() -> None:
    """Put something in the place of standard streams that are closed.

    The next file that is opened would be one of them, and what the operator
    should read would be written into it. To be called before any is opened.

    :source: open(2), "the lowest-numbered file descriptor not currently
        open"; gnulib lib/stdopen.c
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Opened the wrong way round: it can be used as little as before.
            os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)
    # Python has None for those that were closed.
    sys.stdout = sys.stdout or os.fdopen(1, 'w', closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, 'w', closefd=False)
    for stream in (sys.stdout, sys.stderr):
        # What a locale has no letter for is printed by its number.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')


def drop_unwritten() -> None:
    """Forget what cannot be written: Python fails of it when it ends.

    :source: Python, Python/pylifecycle.c flush_std_files
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _drop(stream)


def _drop(stream: ty.TextIO) -> None:
    """Send what a stream still holds, and all that follows, nowhere.

    :source: Python, Doc/library/signal.rst "Note on SIGPIPE"
    """
    # What stands in for a stream has no file.
    with contextlib.suppress(OSError), open(os.devnull, 'w') as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def say(words: str) -> None:
    """Tell the operator on standard error, if that can be written."""
    try:
        print(words, file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def ask(question: str) -> None:
    """Put a question to the operator on standard error."""
    try:
        print(question, end='', file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def out(text: str) -> None:
    """Print on standard output.

    :raises OutputLost: when that cannot be written
    """
    try:
        print(text, flush=True)
    except OSError as exc:
        _drop(sys.stdout)
        raise OutputLost(reason=exc.strerror or str(exc), is_unread=isinstance(
            exc, BrokenPipeError)) from exc


@contextlib.contextmanager
def report(done: str) -> cabc.Iterator[None]:
    """Print what was done; where that cannot be, it is done all the same.

    :param done: told on standard error instead
    """
    try:
        yield
    except OutputLost as exc:
        say(f'nova-snap: {done}. {exc}')


class Progress:
    """Shows phases on standard error, as long as they can be written.

    :param quiet: show nothing at all
    """

    def __init__(self, *, quiet: bool,
                 stream: ty.TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._bar = not quiet and self._stream.isatty()
        self._phase: Phase | None = None
        self._drawn = 0.0
        self._last = (0, 0)

    def begins(self, phase: Phase) -> None:
        """Take note that a phase begins, and the one before it is over."""
        self.complete()
        self._phase, self._last = phase, (0, 0)
        if not self._quiet and not self._bar:
            self._print(f'{PHASES[phase]} ...\n')

    def advances(self, done: int, total: int) -> None:
        """Take note of how far the phase is; bytes."""
        self._last = (done, total)
        now = time.monotonic()
        if self._bar and now - self._drawn > REDRAW_SECONDS:
            self._drawn = now
            self._draw()

    def complete(self) -> None:
        """Show that the phase has come to its end, seen or not."""
        self._last = (self._last[1], self._last[1])
        self.end()

    def end(self) -> None:
        """Leave the line of the bar."""
        if self._bar and self._phase is not None:
            self._draw()
            self._print('\n')
        self._phase = None

    def _draw(self) -> None:
        done, total = self._last
        share = min(done / total, 1.0) if total else 1.0
        words = '' if self._phase is None else PHASES[self._phase]
        figures = f'{share:4.0%} of {units.format_bytes(total)}   '
        # In the last column a terminal may go on to the next line.
        room = self._columns() - 1
        width = min(BAR_WIDTH, room - len(f'{words:26} [] {figures}'))
        if width > 0:
            filled = int(share * width)
            bar = '#' * filled + '-' * (width - filled)
            line = f'{words:26} [{bar}] {figures}'
        else:
            line = f'{words} {figures}'
        self._print('\r' + line[:room])

    def _columns(self) -> int:
        try:
            return (os.get_terminal_size(self._stream.fileno()).columns
                    or TERMINAL_WIDTH)
        except (OSError, ValueError):
            return TERMINAL_WIDTH

    def _print(self, text: str) -> None:
        try:
            print(text, end='', file=self._stream, flush=True)
        except OSError:
            # A snapshot does not fail because its progress has no reader.
            _drop(self._stream)
            self._quiet, self._bar = True, False


def as_json(value: ty.Any) -> None:
    """Print a value for a program to read.

    :raises OutputLost: when that cannot be written
    """
    out(json.dumps(value, indent=2, default=_plain))


def _plain(value: ty.Any) -> ty.Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, enum.Enum):
        return value.value
    return str(value)


def table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print rows under headings, in columns.

    :raises OutputLost: when that cannot be written
    """
    widths = [max(len(row[i]) for row in [headings, *rows])
              for i in range(len(headings))]
    out('\n'.join(
        '  '.join(word.ljust(width) for word, width
                  in zip(row, widths, strict=True)).rstrip()
        for row in [headings, *rows]))
