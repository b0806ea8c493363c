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

"""What each script of tools/ begins with."""

import os
import subprocess
import sys

from oslotest import base

from tests.lab import place


class LibTestCase(base.BaseTestCase):

    def run_in(self, script):
        """Return what a script says that was started with another Python."""
        return subprocess.run(
            ['bash', '-c', f'. tools/lib.sh; {script}', 'tools/test'],
            cwd=place.CHECKOUT, capture_output=True, text=True, check=True,
            env={**os.environ, 'PYTHON': sys.executable}).stdout

    def test_the_python_that_is_named_is_used(self):
        self.assertEqual(f'{sys.executable}\n', self.run_in('echo "$PYTHON"'))

    def test_it_is_not_the_python_of_the_tests(self):
        # stestr would take it from there.
        self.assertNotIn('PYTHON=', self.run_in('env'))
