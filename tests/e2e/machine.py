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

"""The machine as the services see it: with /etc of their own and a user nova.

tools/e2e starts in a mount namespace of its own, and all that it starts is
in there too. A copy of /etc is mounted over /etc: the services find their
configuration where an operator's lies, a user ``nova``, and sudo's rule for
it. The rootwrap filters that Nova ships admit nothing but a configuration
below /etc. Of the machine's own /etc nothing is changed: no user and no sudo
rule stays behind.
"""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess

from tests.e2e import layout
from tests.lab import errors
from tests.lab import place
from tests.lab import process

USER = 'nova'

# rootwrap is root's door; nothing else is opened. %(bin)s is nova's virtual
# environment.
SUDOERS = """\
Defaults:{user} !requiretty, !syslog, secure_path="{path}"
{user} ALL = (root) NOPASSWD: {bin}/nova-rootwrap /etc/nova/rootwrap.conf *
"""

ROOTWRAP = """\
[DEFAULT]
filters_path = /etc/nova/rootwrap.d
exec_dirs = {bin},/usr/sbin,/usr/bin,/sbin,/bin
use_syslog = False
"""

# Seconds: a command that takes longer is stuck.
COMMAND_TIMEOUT = 300

# Characters of a log that are shown when a command fails.
LOG_TAIL = 1000

# Tells processes in the same mount namespace by it, and the variable in which
# tools/e2e leaves what it said of the machine's own.
NAMESPACE = '/proc/self/ns/mnt'
OUTSIDE = 'NOVA_SNAP_OUTSIDE'

SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin'


class Machine:
    """The copy of /etc, and how to run something that sees it."""

    def __init__(self, where: layout.Layout) -> None:
        self.layout = where

    def enter(self, *, anew: bool) -> None:
        """Put a copy over /etc, with the user and its way to root.

        :param anew: make the copy first; only while nothing runs that sees
            an older one
        :raises LabError: when this would change the machine itself
        """
        if os.environ.get(OUTSIDE) in (None, os.readlink(NAMESPACE)):
            raise errors.LabError('not in a mount namespace of its own: '
                                  'start tools/e2e')
        etc = self.layout.etc
        if anew:
            shutil.rmtree(etc, ignore_errors=True)
            process.run(['cp', '-a', '/etc', str(etc)])
        process.run(['mount', '--bind', str(etc), '/etc'])
        if anew:
            self._add_user()
            self._let_rootwrap()

    @property
    def ids(self) -> tuple[int, int]:
        """The user's uid and gid."""
        user = pwd.getpwnam(USER)
        return user.pw_uid, user.pw_gid

    def command(self, argv: list[str]) -> list[str]:
        """Return the command that becomes the user and runs another one.

        It is replaced by the other one: the pid stays.
        """
        return ['setpriv', f'--reuid={USER}', f'--regid={USER}',
                '--init-groups', *argv]

    def environment(self) -> dict[str, str]:
        """Return what a service finds in its environment.

        Python compiles what is imported, into a folder that the user may
        write to: to compile all that is installed takes longer.
        """
        return {'PYTHONPYCACHEPREFIX': str(self.layout.run_dir / 'pycache'),
                'PYTHONDONTWRITEBYTECODE': '', 'PYTHONPATH': '',
                'HOME': str(self.layout.run_dir / 'nova'),
                'PATH': f'{layout.venv("nova") / "bin"}:{SYSTEM_PATH}'}

    def run(self, argv: list[str]) -> None:
        """Run a command as the user; what it writes goes into its log.

        :raises LabError: when it fails, with the end of the log
        """
        log = place.make_dir(self.layout.services) / (
            pathlib.Path(argv[0]).name + '.log')
        with log.open('ab') as out:
            done = subprocess.run(
                self.command(argv), stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, cwd='/', timeout=COMMAND_TIMEOUT,
                env={**os.environ, **self.environment()})
        if done.returncode:
            raise errors.LabError(
                f'{" ".join(argv)} failed; see {log}: ' +
                log.read_text(errors='replace')[-LOG_TAIL:])

    def own(self, path: pathlib.Path) -> pathlib.Path:
        """Make a folder that belongs to the user."""
        place.make_dir(path)
        os.chown(path, *self.ids)
        return path

    def write(self, name: str, text: str) -> None:
        """Write a file of /etc that the user alone may read."""
        path = self.layout.etc / name
        place.make_dir(path.parent)
        unfinished = path.with_name(f'.{path.name}.new')
        unfinished.touch(mode=0o640)
        unfinished.write_text(text)
        os.chown(unfinished, 0, self.ids[1])
        unfinished.replace(path)

    def kill(self) -> None:
        """Kill what still runs in there: helpers that outlived a service."""
        for pid in self._processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _processes(self) -> list[int]:
        """List the processes that see a copy of ours, but for ourselves."""
        found = []
        for folder in pathlib.Path('/proc').glob('[0-9]*'):
            try:
                mounts = (folder / 'mountinfo').read_text()
            except OSError:
                continue
            if any(fields[4] == '/etc' and
                   fields[3].endswith(str(self.layout.etc))
                   for fields in map(str.split, mounts.splitlines())):
                found.append(int(folder.name))
        return [pid for pid in found if pid != os.getpid()]

    def _add_user(self) -> None:
        try:
            pwd.getpwnam(USER)
        except KeyError:
            process.run(['useradd', '--system', '--user-group',
                         '--no-create-home', '--home-dir',
                         str(self.layout.run_dir / 'nova'),
                         '--shell', '/usr/sbin/nologin', USER])

    def _let_rootwrap(self) -> None:
        folder = layout.venv('nova')
        (self.layout.etc / 'sudoers.d' / 'nova').write_text(SUDOERS.format(
            user=USER, bin=folder / 'bin',
            path=f'{folder / "bin"}:{SYSTEM_PATH}'))
        (self.layout.etc / 'sudoers.d' / 'nova').chmod(0o440)
        nova = place.make_dir(self.layout.etc / 'nova')
        (nova / 'rootwrap.conf').write_text(
            ROOTWRAP.format(bin=folder / 'bin'))
        shutil.copytree(folder / 'etc' / 'nova' / 'rootwrap.d',
                        nova / 'rootwrap.d', dirs_exist_ok=True)
