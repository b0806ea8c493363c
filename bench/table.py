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


"""A table of what was measured: for a terminal, and for the documents."""

import collections.abc as cabc

from bench import figures
from nova_snap import units

COLUMNS = ('variant', 'seconds', '(range)', 'to PUT', 'MiB read',
           'MiB written', 'MiB sent', 'CPU s client', 'QEMU', 'Glance',
           'libvirtd', 'peak MiB', 'stall ms', 'frozen ms')

# Between a shape's name and the part of its data that --quick leaves.
PART = '/'

# What is not known, or was not there.
NONE = '-'


def cells(row: figures.Row) -> list[str]:
    """Return what stands in one line, in the order of COLUMNS."""
    return [
        row.variant,
        f'{row.seconds:.1f}',
        f'{row.fastest:.1f} to {row.slowest:.1f}',
        NONE if row.ratio is None else f'{row.ratio:.2f}',
        *(f'{size / units.MiB:.0f}' for size in (
            row.read_bytes, row.written_bytes, row.sent_bytes)),
        *(f'{row.cpu_seconds[name]:.1f}' for name in figures.PROCESSES),
        f'{row.memory_bytes / units.MiB:.0f}',
        _milliseconds(row.stall_seconds),
        _milliseconds(row.frozen_seconds)]


def as_text(lines: cabc.Sequence[cabc.Sequence[str]]) -> str:
    """Set lines of cells in columns, the first to the left."""
    widths = [max(len(line[column]) for line in lines)
              for column in range(len(lines[0]))]
    return '\n'.join('  '.join(
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(
            zip(line, widths, strict=True))).rstrip() for line in lines)


def text(rows: cabc.Iterable[figures.Row]) -> str:
    """Return one table for each shape, for a terminal."""
    return '\n\n'.join(
        f'{shape}, medians of {group[0].count}\n'
        + as_text([COLUMNS, *map(cells, group)])
        for shape, group in _by_shape(rows).items())


def rst(rows: cabc.Iterable[figures.Row],
        titles: cabc.Mapping[str, str]) -> str:
    """Return one table for each shape, for Sphinx.

    :param titles: what each shape is, by its name
    """
    return '\n'.join(
        as_rst(f'{shape}: {titles[shape.partition(PART)[0]]}; medians of '
               f'{group[0].count}', [COLUMNS, *map(cells, group)])
        for shape, group in _by_shape(rows).items())


def as_rst(title: str, lines: cabc.Sequence[cabc.Sequence[str]]) -> str:
    """Return a table for Sphinx; the first line is its head."""
    text = [f'.. list-table:: {title}', '   :header-rows: 1', '']
    for line in lines:
        text += [f'   {"-" if number else "* -"}'.rjust(6) + f' {cell}'
                 for number, cell in enumerate(line)]
    return '\n'.join(text) + '\n'


def _milliseconds(seconds: float | None) -> str:
    return NONE if seconds is None else f'{seconds * 1000:.0f}'


def _by_shape(rows: cabc.Iterable[figures.Row]
              ) -> dict[str, list[figures.Row]]:
    shapes: dict[str, list[figures.Row]] = {}
    for row in rows:
        shapes.setdefault(row.shape, []).append(row)
    return shapes
