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

"""A disk that is full."""

import resource

import fixtures


class Disk(fixtures.Fixture):
    """A disk that can be filled: no file can grow any more.

    A limit of the process and not a mock: the write itself fails. Python
    ignores the signal that comes with it.
    """

    def _setUp(self):
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE,
                        self._before)

    def fill(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._before[1]))


class FullDisk(Disk):
    """A disk that is full from the start."""

    def _setUp(self):
        super()._setUp()
        self.fill()
