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

import re

from oslotest import base

from tests.lab import place
from tests.stages import stages

SHEBANG = re.compile(rb'#!.*sh\n')
FOLDERS = ('.ci', 'bench', 'devstack', 'tools')


class ShellScriptsTestCase(base.BaseTestCase):

    def test_each_is_judged(self):
        found = set()
        for folder in FOLDERS:
            for path in (place.CHECKOUT / folder).rglob('*'):
                if path.is_file() and (path.suffix == '.sh' or SHEBANG.match(
                        path.read_bytes())):
                    found.add(str(path.relative_to(place.CHECKOUT)))
        # DevStack sources this one, whose name says nothing.
        self.assertEqual(set(stages.SHELL_SCRIPTS) - {'devstack/settings'},
                         found)
