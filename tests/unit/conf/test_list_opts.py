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

import contextlib
import io
import pathlib
import re

import ddt
from oslo_config import cfg
from oslo_config import generator
from oslotest import base

from nova_snap import conf as conf_module
from nova_snap.conf import nova_snap as own

GENERATOR = (pathlib.Path(__file__).parents[3] / 'etc' / 'nova_snap'
             / 'nova-snap-config-generator.conf')

# A help text of ours may leave these out only with a reason.
_UNITS = re.compile(r'The unit is (seconds|bytes( per second)?)')


def _sample():
    """Make the sample file as oslo-config-generator does."""
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(['--namespace', 'nova_snap'], default_config_files=[],
         default_config_dirs=[])
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        generator.generate(conf)
    return out.getvalue()


class SampleTestCase(base.BaseTestCase):

    def test_each_option_is_in_it_once(self):
        sample = _sample()
        sections = dict(re.findall(
            r'^\[(\w+)\]\n(.*?)(?=^\[|\Z)', sample, re.M | re.S))
        for group, opts in conf_module.list_opts():
            named = re.findall(r'^#(\w+) = ?', sections[
                group.name if group else 'DEFAULT'], re.M)
            for opt in opts:
                self.assertEqual(1, named.count(opt.dest),
                                 f'{group and group.name}.{opt.dest}')

    def test_it_has_no_option_that_only_others_read(self):
        """As those of oslo.log: the command does not set it up."""
        conf = cfg.ConfigOpts()
        generator.register_cli_opts(conf)
        conf([], default_config_files=[str(GENERATOR)],
             default_config_dirs=[])
        self.assertEqual(['nova_snap'], conf.namespace)

    def test_it_names_no_path_and_no_name_of_this_machine(self):
        conf = cfg.ConfigOpts()
        conf_module.register_opts(conf)
        conf([], default_config_files=[], default_config_dirs=[])
        sample = _sample()
        self.assertNotIn(conf.pybasedir, sample)
        self.assertNotIn(f'#host = {conf.host}\n', sample)


@ddt.ddt
class HelpTestCase(base.BaseTestCase):

    @ddt.data(*own.SNAPSHOT_OPTS)
    def test_a_help_says_what_is_possible_and_bounds_are_checked(self, opt):
        text = ' '.join(opt.help.split())
        if isinstance(opt, cfg.StrOpt):
            self.assertTrue(opt.type.choices
                            or 'Possible values:' in text)
        else:
            self.assertIn('Possible values:', text)
        if isinstance(opt, cfg.IntOpt):
            self.assertIsNotNone(opt.type.min)
            self.assertRegex(text, _UNITS)

    @ddt.data(*[opt for opt in own.SNAPSHOT_OPTS
                if opt.dest.endswith('_timeout')])
    def test_the_default_of_a_timeout_has_its_reason(self, opt):
        self.assertIn('The default', ' '.join(opt.help.split()))
