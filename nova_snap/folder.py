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

"""A directory that is held open.

It may belong to another user than us, above all to Nova's while we are root:
then that user may put anything under a name in it at any moment, as a link to
a file of root's. So a name is looked up in the open directory alone, no link
is followed, and owner and mode are changed of what was opened.
"""

import collections.abc as cabc
import contextlib
import errno
import os
import stat

PRIVATE = 0o700

# O_NONBLOCK: to open a pipe that waits under the name is no wait without end.
OPEN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
DIRECTORY = OPEN | os.O_RDONLY | os.O_DIRECTORY


class Folder:
    """What may be done in a directory.

    Each method raises OSError as the call of the same name does.

    :param descriptor: of the directory; belongs to the context manager that
        opened it
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @property
    def is_anothers(self) -> bool:
        """Tell whether its owner has fewer rights than we, who are root."""
        return os.geteuid() == 0 != os.fstat(self.descriptor).st_uid

    @contextlib.contextmanager
    def below(self, name: str) -> cabc.Iterator['Folder']:
        """Open a directory in this one, not a link to one, for the block."""
        descriptor = os.open(name, DIRECTORY, dir_fd=self.descriptor)
        try:
            yield Folder(descriptor)
        finally:
            os.close(descriptor)

    def make(self, name: str, mode: int,
             owner: tuple[int, int] | None = None) -> None:
        """Make a directory, and give it to its owner.

        :param mode: what it has, whatever the umask
        :param owner: uid and gid, -1 for those it has; None to keep it
        :raises FileExistsError: when one is there
        :raises PermissionError: also when another one took its place before
            it had its owner
        """
        # Ours alone until it has both.
        os.mkdir(name, PRIVATE, dir_fd=self.descriptor)
        with self.below(name) as made:
            figures = os.fstat(made.descriptor)
            # A network file system may have another owner for what a user
            # other than root makes.
            if os.geteuid() == 0 and (
                    figures.st_uid != 0
                    or stat.S_IMODE(figures.st_mode) & ~PRIVATE & 0o777):
                raise PermissionError(
                    errno.EPERM, 'What was made is not root\'s: another '
                    'directory took its place, or its file system has '
                    'root_squash', name)
            if owner is not None:
                os.fchown(made.descriptor, *owner)
            os.fchmod(made.descriptor, mode)

    def create(self, name: str, mode: int) -> int:
        """Make a file that was not there, and open it to be written.

        :returns: its descriptor, to be closed by the caller
        """
        return os.open(name, OPEN | os.O_RDWR | os.O_CREAT | os.O_EXCL, mode,
                       dir_fd=self.descriptor)

    def give(self, file: int) -> None:
        """Let a file that we made here belong to the directory's owner.

        Not to the one who should be: what root makes where it did not mean
        to must be of no use to another user.
        """
        figures = os.fstat(self.descriptor)
        if os.geteuid() == 0:
            os.fchown(file, figures.st_uid, figures.st_gid)

    def open(self, name: str, flags: int) -> int:
        """Open a file, not a link to one, for the caller to close.

        :raises OSError: also for what is no plain file
        """
        file = os.open(name, OPEN | flags, dir_fd=self.descriptor)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.EPERM, 'It is no plain file', name)
        return file

    def chown(self, name: str, uid: int) -> None:
        """Let a file belong to a user; it has one name alone.

        :raises OSError: also for a link, and for a file with two names
        """
        file = self.open(name, os.O_RDONLY)
        try:
            if os.fstat(file).st_nlink > 1:
                raise OSError(errno.EMLINK, 'It has a second name', name)
            os.fchown(file, uid, -1)
        finally:
            os.close(file)

    def holds(self, name: str, file: int) -> bool:
        """Tell whether a name here still is that of an open file."""
        try:
            return os.path.samestat(
                os.fstat(file), os.stat(name, dir_fd=self.descriptor,
                                        follow_symlinks=False))
        except FileNotFoundError:
            return False

    def has(self, name: str) -> bool:
        """Tell whether something is here under a name, be it a link."""
        try:
            os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def replace(self, old: str, new: str) -> None:
        """Give a file another name, and take that from the one that has it."""
        os.replace(old, new, src_dir_fd=self.descriptor,
                   dst_dir_fd=self.descriptor)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name."""
        os.link(old, new, src_dir_fd=self.descriptor,
                dst_dir_fd=self.descriptor, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove a file, or the link that is in its place; absent is fine."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def remove_files(self, unwanted: cabc.Callable[[str], bool]) -> None:
        """Remove each file whose name is unwanted."""
        for entry in self._entries():
            if unwanted(entry.name):
                self.remove(entry.name)

    def remove_tree(self, name: str) -> None:
        """Remove a directory and all in it; absent is fine.

        Python's own has no ``dir_fd`` before 3.11.
        """
        with contextlib.suppress(FileNotFoundError):
            with self.below(name) as folder:
                folder.empty()
            os.rmdir(name, dir_fd=self.descriptor)

    def empty(self) -> None:
        """Remove all that is in it."""
        for entry in self._entries():
            if entry.is_dir(follow_symlinks=False):
                self.remove_tree(entry.name)
            else:
                self.remove(entry.name)

    def names(self) -> list[str]:
        """Return the names of what is in it."""
        return [entry.name for entry in self._entries()]

    def _entries(self) -> list['os.DirEntry[str]']:
        with self.below('.') as read, os.scandir(read.descriptor) as found:
            return list(found)

    def for_another_program(self, name: str, path: str) -> str:
        """Return by which path another program finds a name in here.

        Where the directory belongs to another user it leads through our
        descriptor, as long as that is open.

        :param path: of the name, as the others know it
        """
        return self.through_us(name) if self.is_anothers else path

    def through_us(self, name: str) -> str:
        """Return a short path of a name in here, while this is open.

        For a process of our own user, or of root.

        :source: proc(5), /proc/pid/fd
        """
        return f'/proc/{os.getpid()}/fd/{self.descriptor}/{name}'

    def sync(self) -> None:
        """Wait until the names in it are on the disk."""
        with self.below('.') as read:
            os.fsync(read.descriptor)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], *,
           follow: bool = True) -> cabc.Iterator[Folder]:
    """Hold a directory open for the block.

    :param follow: False refuses a link in the place of the directory itself;
        those above it are the operator's
    :raises OSError: when it cannot be opened
    """
    # To work in it without reading it, to enter it is enough.
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    try:
        yield Folder(descriptor)
    finally:
        os.close(descriptor)
