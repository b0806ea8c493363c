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

To start Python and load the command takes longer than what most tests want
of it. A child is a process of its own all the same: it runs the command's
main(), and may be told to die; see kill_child.py.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing as ty

from tests.functional import base
from tests.functional import kill_child
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
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith('OS_')}
        self._process = subprocess.Popen(
            [sys.executable, '-m', kill_child.__name__], text=True,
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            cwd=place.CHECKOUT, start_new_session=True)

    def run(self, *argv: str, **order: ty.Any) -> Ended:
        """Run one child to its end.

        :param order: other fields of ``kill_child.Order``
        """
        self._count += 1
        folder = place.make_dir(self.folder / f'child-{self._count}')
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout
        print(json.dumps(dataclasses.asdict(kill_child.Order(
            list(argv), str(folder), **order))), file=stdin, flush=True)
        code = json.loads(stdout.readline())
        return Ended(code, (folder / 'stdout').read_text(),
                     (folder / 'stderr').read_text(),
                     tuple((folder / 'events').read_text().splitlines()))

    def stop(self) -> None:
        """End them all."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(kill_child.LIFE_SECONDS)
        self._process.stdout.close()


class ChildTest(base.FunctionalTest):
    """A test that runs the command in children."""

    _children: ty.ClassVar[dict[type, Children]] = {}

    def child(self, *arguments: str, **order: ty.Any) -> Ended:
        """Run the command in a child, and let it die at a given place."""
        owner = type(self)
        if owner not in self._children:
            children = Children(place.make_dir(
                self.lab.run_dir / 'tests' / f'children-{os.getpid()}'))
            self._children[owner] = children
            self.addClassCleanup(shutil.rmtree, children.folder)
            self.addClassCleanup(self._children.pop, owner)
            self.addClassCleanup(children.stop)
        return self._children[owner].run(
            '--config-file', str(self.write_config()), *arguments, **order)
