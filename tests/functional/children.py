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

"""The command in children of one process that has loaded it already.

A child runs the command's main(), and may be told to die; see kill_child.py.
"""

import dataclasses
import os
import pathlib
import shutil
import typing as ty

from tests.functional import base
from tests.functional import kill_child
from tests.lab import forks
from tests.lab import place


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a child ended.

    :ivar code: its exit code, KILLED for a kill
    :ivar events: what it did to the world, in order
    """

    code: int
    stdout: str
    stderr: str
    events: tuple[str, ...]


class Children:
    """The process that runs all children of one class of tests."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._count = 0
        self._server = forks.Server(kill_child.__name__,
                                    kill_child.LIFE_SECONDS)

    def run(self, *argv: str, **order: ty.Any) -> Ended:
        """Run one child to its end.

        :param order: other fields of ``kill_child.Order``
        """
        self._count += 1
        folder = place.make_dir(self.folder / f'child-{self._count}')
        code = self._server.run(dataclasses.asdict(kill_child.Order(
            list(argv), str(folder), **order)))
        return Ended(code, (folder / 'stdout').read_text(),
                     (folder / 'stderr').read_text(),
                     tuple((folder / 'events').read_text().splitlines()))

    def stop(self) -> None:
        """End them all."""
        self._server.stop()


class ChildTest(base.FunctionalTest):
    """A test that runs the command in children."""

    _children: ty.ClassVar[dict[type, Children]] = {}

    def child(self, *arguments: str, **order: ty.Any) -> Ended:
        """Run the command in a child, and let it die at a given place."""
        owner = type(self)
        if owner not in self._children:
            children = Children(place.make_dir(
                self.lab.run_dir / 't' / f'children-{os.getpid()}'))
            self._children[owner] = children
            self.addClassCleanup(shutil.rmtree, children.folder)
            self.addClassCleanup(self._children.pop, owner)
            self.addClassCleanup(children.stop)
        return self._children[owner].run(
            '--config-file', str(self.write_config()), *arguments, **order)
