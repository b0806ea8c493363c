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

import pathlib

import fixtures
from oslotest import base

from tests.faults import report
from tests.lab import place

ROWS = (
    report.Row('live/undefineFlags.1/after/sigkill',
               'killed, rolled back', 1.5, True, (), ('D1',)),
    report.Row('live/undefineFlags.2/after/sigkill',
               'killed, rolled back', 1.5, True, (), ()),
    report.Row('cold/managedSave.1/after/sigkill', 'killed, rolled back',
               2.0, True, ('lost: the guest lies saved', 'left: a file'), ()),
    report.Row('cold/resume.4/before/sigterm', 'not reached', 1.0, False,
               (), ()),
)


class ReportTestCase(base.BaseTestCase):

    def test_what_was_written_is_read(self):
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path, 'rows')
        report.write(path, ROWS)
        self.assertEqual(list(ROWS), report.read([path]))

    def test_the_last_of_two_counts(self):
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        report.write(folder / '1', ROWS[2:3])
        report.write(folder / '2', [
            report.Row(ROWS[2].name, 'killed, finished', 2.0, True, ())])
        (row,) = report.read([folder / '1', folder / '2'])
        self.assertEqual((), row.problems)

    def test_the_total(self):
        self.assertEqual(
            '3 tried, 2 survived, 1 lost, 1 left, 0 let in; 1 not reached; '
            '6 s', report.total(ROWS))

    def test_the_table_of_readme(self):
        self.assertEqual(['process', '3', '2', '1', '1', '0'],
                         report.summary(ROWS)[1])

    def test_readme_has_the_table_of_today(self):
        readme = place.CHECKOUT.joinpath('README.rst').read_text()
        said = report.in_readme(readme, ROWS)
        self.assertNotEqual(readme, said)
        self.assertEqual(said, report.in_readme(said, ROWS))
        self.assertIn('   * - all\n     - 3\n     - 2\n     - 1\n', said)
        self.assertEqual(readme.partition('What was tried')[0],
                         said.partition('What was tried')[0])

    def test_the_matrix(self):
        said = report.as_rst(ROWS)
        self.assertIn('The flow ``live``', said)
        self.assertIn('   * - ``undefineFlags``\n     - sigkill\n'
                      '     - 2 killed, rolled back\n     - D1\n', said)
        self.assertIn('1 BROKEN', said)
        self.assertNotIn('resume', said)
