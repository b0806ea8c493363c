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

"""A file that is looked up by its path, to be read.

Root may read all of this host, and what it reads ends in an image or in a
message. The directories of guests belong to other users, above all to Nova's,
who may put a link in the place of a disk at any moment. So root follows links
of root's alone, and once a file is found it is known by its descriptor.
"""

import contextlib
import errno
import os
import shlex
import stat
import typing as ty

# :source: path_resolution(7)
MOST_LINKS = 40
# To be looked at, and not read.
PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
DESCRIPTOR = '/proc/{}/fd/{}'


class LookupRefused(OSError):
    """Something on the way is not what root should read.

    Its text has a remedy, if there is one.
    """


class Found(ty.NamedTuple):
    """What a path names.

    :ivar descriptor: to be looked at, with O_PATH
    :ivar is_anothers: another user than root can let the path name another
        file
    """

    descriptor: int
    is_anothers: bool


@contextlib.contextmanager
def found(path: str) -> ty.Iterator[Found]:
    """Find what a path names, and hold it for the block.

    :raises LookupRefused: for root, when another user's link is on the way
    :raises OSError: when nothing is there, or it cannot be reached
    """
    walk = _Walk(path)
    try:
        walk.go()
        yield Found(walk.at, walk.is_anothers)
    finally:
        walk.close()


@contextlib.contextmanager
def opened(path: str) -> ty.Iterator[ty.BinaryIO]:
    """Open a file or a block device for the block, to be read.

    :raises LookupRefused: also for what is neither: to open a pipe is a wait
        without end
    :raises OSError: when it cannot be opened
    """
    with found(path) as there:
        _refuse_others(there.descriptor, path)
        file = os.open(DESCRIPTOR.format('self', there.descriptor),
                       os.O_RDONLY | os.O_CLOEXEC)
    with open(file, 'rb') as read:
        yield read


def is_roots(path: str) -> bool:
    """Tell whether root alone decides what is in a file or a directory.

    :returns: False also for what is not there
    """
    with contextlib.suppress(OSError), found(path) as there:
        figures = os.fstat(there.descriptor)
        return not (there.is_anothers or figures.st_uid
                    or figures.st_mode & OTHERS_WRITE)
    return False


@contextlib.contextmanager
def for_another_program(path: str) -> ty.Iterator[str]:
    """Return by which path another program finds a file, for the block.

    Where another user can exchange it, that leads through a descriptor of
    ours.

    :raises OSError: as :func:`opened` does, but what is missing where root
        alone can make it is left to the program
    :source: proc(5), /proc/pid/fd
    """
    walk = _Walk(path)
    try:
        try:
            walk.go()
        except FileNotFoundError:
            if walk.is_anothers:
                raise
        else:
            _refuse_others(walk.at, path)
        yield (DESCRIPTOR.format(os.getpid(), walk.at) if walk.is_anothers
               else path)
    finally:
        walk.close()


def _refuse_others(descriptor: int, path: str) -> None:
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise LookupRefused(
            errno.EINVAL, 'It is neither a file nor a block device', path)


class _Walk:
    """The way along a path, one name after another.

    Who is not root follows all links: none leads to what this user must not
    read.

    :ivar at: the descriptor of where it is
    :ivar is_anothers: a directory on the way is such that another user than
        root can change the names in it
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.join(os.getcwd(), path)
        self._is_root = os.geteuid() == 0
        self._links = 0
        self._way = '/'
        self.is_anothers = False
        self.at = os.open('/', PATH)

    def close(self) -> None:
        os.close(self.at)

    def go(self) -> None:
        """Go to the end."""
        if not self._is_root:
            self._stand(os.open(self._path, os.O_PATH | os.O_CLOEXEC))
            return
        left = self._path.split('/')[::-1]
        while left:
            name = left.pop()
            if name in ('', '.'):
                continue
            left += self._step(name)[::-1]

    def _step(self, name: str) -> list[str]:
        """Take one step.

        :returns: the names of a link that is in the way, to go on with
        """
        folder = os.fstat(self.at)
        try:
            there = os.open(name, PATH, dir_fd=self.at)
        except FileNotFoundError:
            self._note(folder, None)
            raise
        figures = os.fstat(there)
        self._note(folder, figures)
        if not stat.S_ISLNK(figures.st_mode):
            self._way = os.path.join(self._way, name)
            self._stand(there)
            return []
        try:
            self._refuse_link(os.path.join(self._way, name), figures.st_uid)
            target = os.readlink('', dir_fd=there)
        finally:
            os.close(there)
        if target.startswith('/'):
            self._way = '/'
            self._stand(os.open('/', PATH))
        return target.split('/')

    def _note(self, folder: os.stat_result,
              figures: os.stat_result | None) -> None:
        """Note whether another user can change a name in a directory.

        In a sticky one, as /tmp, root's names are root's to change.
        """
        is_kept = (folder.st_mode & stat.S_ISVTX and figures is not None
                   and not figures.st_uid)
        if folder.st_uid or (folder.st_mode & OTHERS_WRITE and not is_kept):
            self.is_anothers = True

    def _stand(self, there: int) -> None:
        # A signal may end this at any point: none is closed twice.
        before, self.at = self.at, there
        os.close(before)

    def _refuse_link(self, link: str, owner: int) -> None:
        self._links += 1
        if self._links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)
        if owner:
            raise LookupRefused(
                errno.ELOOP,
                f'On the way to it is the link {link} of another user (uid '
                f'{owner}), and root follows its own alone. Name the file '
                'itself, or, if the link is meant, give it to root: "chown '
                f'--no-dereference root {shlex.quote(link)}"', self._path)
