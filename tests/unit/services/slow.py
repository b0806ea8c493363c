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

"""An answer of which a byte comes a second."""

import io

import fixtures

from nova_snap.services import sessions


class _Body(io.RawIOBase):

    def __init__(self, owner, content):
        super().__init__()
        self._owner = owner
        self._content = io.BytesIO(content)

    def read(self, size=-1):
        found = self._content.read(1)
        self._owner.seconds += len(found)
        return found


class Slow:
    """Makes the bodies of answers, and has the time that they take.

    :ivar seconds: since the beginning
    """

    def __init__(self, test):
        self.seconds = 0
        test.useFixture(fixtures.MockPatchObject(sessions, 'time', self))

    def monotonic(self):
        return self.seconds

    def body(self, content):
        return _Body(self, content)
