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

"""What the tests of refusals share."""

import contextlib
import os
import pathlib
import typing as ty

from nova_snap import units
from tests.functional import base
from tests.functional import children
from tests.lab.guest import domain as guest_domain

FAILED, USAGE, REFUSED = 1, 2, 3

PIECE = 64 * units.KiB


def fill(path: pathlib.Path, left: int = 0) -> None:
    """Leave no room in a file system, or so many bytes."""
    with contextlib.suppress(OSError), open(path / 'ballast', 'ab',
                                            buffering=0) as ballast:
        while (_free(path) > left
               and ballast.write(bytes(PIECE)) == PIECE):
            pass


def _free(path: pathlib.Path) -> int:
    figures = os.statvfs(path)
    return figures.f_bavail * figures.f_frsize


class RefusalTest(children.ChildTest):
    """The command says no, says why, and leaves everything as it was."""

    def assert_no(self, code: int, ended: children.Ended,
                  *says: str) -> None:
        """Assert how the command ended and what it said last."""
        self.assertEqual(code, ended.code, ended.stderr)
        last = ended.stderr.splitlines()[-1]
        self.assertTrue(last.startswith('nova-snap: '), ended.stderr)
        self.assertNotIn('Traceback', ended.stderr)
        for words in says:
            self.assertIn(words, last)

    def refuse(self, code: int, guest: guest_domain.Guest, *arguments: str,
               says: ty.Iterable[str]) -> children.Ended:
        """Ask for a snapshot, get none, and find all as it was.

        :param says: what the last line on standard error must have
        """
        before = base.look(guest)
        ended = self.child('image-create', guest.spec.name, 'refused',
                           *arguments)
        self.assert_no(code, ended, *says)
        self.assert_guest_untouched(guest, before)
        self.assert_nothing_left()
        return ended
