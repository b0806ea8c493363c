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

"""What the journal remembers of one operation.

The format on disk is described in doc/source/reference/journal.rst; a change
of it is a new :data:`FORMAT_VERSION`, and each version before stays readable.
"""

import dataclasses
import typing as ty

from nova_snap import compat
from nova_snap import errors
from nova_snap.journal import format_1

FORMAT_VERSION = 2

Facts = dict[str, ty.Any]

_Value = ty.TypeVar('_Value', 'Entry', 'Image', 'Record', 'Reservation')


class Role(compat.StrEnum):
    """What becomes of a step when the operation ends."""

    #: a temporary condition: always undone
    HOLD = 'hold'
    #: what must remain: undone only if the operation fails
    ARTIFACT = 'artifact'


class Phase(compat.StrEnum):
    """How far a step came."""

    #: written before the act: it may or may not have happened
    INTENT = 'intent'
    DONE = 'done'
    UNDONE = 'undone'


@dataclasses.dataclass
class Entry:
    """One step of an operation.

    :ivar kind: the name of the step's class
    :ivar facts: the fields of the step: names and the state before, so that
        another process can build the step again
    """

    kind: str
    role: Role
    phase: Phase
    # Domain XML with its secrets is among them: a record may be logged.
    facts: Facts = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Image:
    """An image that an operation leaves, as an operator looks for it."""

    id: str
    name: str


@dataclasses.dataclass(frozen=True)
class Reservation:
    """Room that an operation may take while it is under way.

    :ivar path: the file or directory that it writes, which need not be there
        yet; what it takes already is a part of the room
    :ivar size: bytes, in all
    """

    path: str
    size: int


@dataclasses.dataclass
class Record:
    """One operation, from its first intent to its end.

    :ivar images: those it leaves; none where it leaves none
    :ivar host: ``[DEFAULT]host`` of the owner
    :ivar committed: from here on nothing is undone but holds
    :ivar reservations: what it writes on this host; none when it has written
        all of it
    """

    id: str
    operation: str
    instance_uuid: str
    instance_name: str
    images: list[Image]
    host: str
    machine_id: str
    boot_id: str
    started_at: str
    committed: bool = False
    entries: list[Entry] = dataclasses.field(default_factory=list)
    reservations: list[Reservation] = dataclasses.field(default_factory=list)

    def to_dict(self) -> Facts:
        """Return the record as it is written, with its format version."""
        return {'version': FORMAT_VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, data: ty.Any, path: str) -> 'Record':
        """Build a record from what was read.

        :raises JournalUnknownVersion: when another release wrote it
        :raises JournalError: when a field is missing or strange
        """
        if not isinstance(data, dict):
            raise errors.JournalError(
                reason=f'Record {path} cannot be read: it is no JSON object')
        version = data.get('version')
        if version not in (format_1.VERSION, FORMAT_VERSION):
            raise errors.JournalUnknownVersion(path=path, version=version)
        fields = {k: v for k, v in data.items() if k != 'version'}
        try:
            if version == format_1.VERSION:
                fields = format_1.upgrade(data)
            entries = [_entry(e) for e in fields.pop('entries')]
            images = [_image(i) for i in fields.pop('images')]
            reservations = [_reservation(r)
                            for r in fields.pop('reservations', ())]
            # Without the word it is not known what may be undone.
            committed = fields.pop('committed')
            return _checked(cls(committed=committed, entries=entries,
                                images=images, reservations=reservations,
                                **fields))
        except (KeyError, TypeError, ValueError) as exc:
            raise errors.JournalError(
                reason=f'Record {path} cannot be read: {exc!r}') from exc


def _entry(data: ty.Any) -> Entry:
    return _checked(Entry(kind=data['kind'], role=Role(data['role']),
                          phase=Phase(data['phase']), facts=data['facts']))


def _image(data: ty.Any) -> Image:
    return _checked(Image(**data))


def _reservation(data: ty.Any) -> Reservation:
    return _checked(Reservation(**data))


def _checked(value: _Value) -> _Value:
    """Refuse a field that is not of its type.

    A word where a boolean belongs would be true, and what must be undone
    would remain. What the field holds is not told: it may be a secret.
    """
    for name, hint in ty.get_type_hints(type(value)).items():
        kind = ty.get_origin(hint) or hint
        if not isinstance(getattr(value, name), kind):
            raise TypeError(f'{name} is not a {kind.__name__}')
    return value
