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

"""Names of tests, as a person writes them, and the ids that they match.

stestr takes regular expressions, which match anywhere in an id and in which
a dot is any character: "tests.flow.test_live" also finds a test of another
folder whose name has tests_flow_test_live in it. Here a name is text.
"""

import re

# A test of a table has its place in it behind its name, and perhaps what the
# line holds; one of several scenarios has them in parentheses.
# :source: ddt.mk_test_name; testscenarios.apply_scenario
VARIANT = r'(_[0-9]+(_\w*)?)?'
END = r'(?=[.(]|$)'


def pattern(name: str) -> str:
    """Return the regular expression of the ids that a name stands for.

    A name is one or more whole parts of an id: a module, a class, a test,
    or several of them with dots between, as ``test_live`` or
    ``OrderTestCase.test_frozen_guest``. ``*`` stands for any text within a
    part. The path of a file or folder is a name too.
    """
    path = name.removeprefix('./').removesuffix('/').removesuffix('.py')
    parts = path.replace('/', '.').split('.')
    text = r'\.'.join(
        r'[^.(]*'.join(re.escape(piece) for piece in part.split('*'))
        for part in parts)
    return rf'^([^(]*\.)?{text}{VARIANT}{END}'
