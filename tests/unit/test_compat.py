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

"""The same on every Python."""

import configparser
import json
import pathlib
import re

from oslotest import base

from nova_snap import compat

CHECKOUT = pathlib.Path(__file__).parents[2]


class Kind(compat.StrEnum):
    LIVE = 'live'


class StrEnumTestCase(base.BaseTestCase):

    def test_a_member_reads_as_its_value(self):
        self.assertEqual(['live', 'live', '   live', '"live"'],
                         [str(Kind.LIVE), f'{Kind.LIVE}', f'{Kind.LIVE:>7}',
                          json.dumps(Kind.LIVE)])

    def test_a_value_finds_its_member(self):
        self.assertIs(Kind.LIVE, Kind('live'))
        self.assertEqual('live', Kind.LIVE)


class FloorTestCase(base.BaseTestCase):

    def test_the_linters_hold_the_floor_that_pip_holds(self):
        """What runs on the newest Python alone is found on any."""
        setup = configparser.ConfigParser()
        setup.read(CHECKOUT / 'setup.cfg')
        floor = setup['metadata']['python_requires'].removeprefix('>=')
        project = (CHECKOUT / 'pyproject.toml').read_text()
        self.assertEqual(
            [f'py{floor.replace(".", "")}', floor],
            [re.search(f'^{option} = "(.*)"$', project, re.M)[1]
             for option in ('target-version', 'python_version')])
