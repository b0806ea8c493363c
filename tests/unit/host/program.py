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

"""A program in the place of another, that keeps what it was called with."""

import os
import pathlib

import fixtures

SCRIPT = """\
#!/bin/sh
printf '%s\\0' "$@" > "$0.words"
env > "$0.environment"
(ulimit -t; ulimit -v) > "$0.limits"
echo $$ > "$0.pid"
{body}
"""


class Program(fixtures.Fixture):
    """The first one of its name on the PATH.

    :param body: what it does, in the language of sh
    """

    def __init__(self, name, body=''):
        super().__init__()
        self._name = name
        self._body = body

    def _setUp(self):
        folder = self.useFixture(fixtures.TempDir()).path
        self.path = pathlib.Path(folder, self._name)
        self.path.write_text(SCRIPT.format(body=self._body))
        self.path.chmod(0o755)
        self.useFixture(fixtures.EnvironmentVariable(
            'PATH', f'{folder}:{os.environ["PATH"]}'))

    def _kept(self, what):
        return pathlib.Path(f'{self.path}.{what}').read_text()

    @property
    def words(self):
        """What it was called with, last."""
        return self._kept('words').split('\0')[:-1]

    @property
    def environment(self):
        return dict(line.split('=', 1) for line
                    in self._kept('environment').splitlines()
                    if '=' in line)

    @property
    def limits(self):
        """Its limits: seconds of CPU, and KiB of memory."""
        return self._kept('limits').split()

    @property
    def pid(self):
        return int(self._kept('pid'))
