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

"""How Sphinx makes the documents of nova_snap."""

import os

project = 'nova_snap'
copyright = 'nova_snap developers'

extensions = [
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
    'sphinx.ext.extlinks',
]

html_theme = 'alabaster'
html_theme_options = {
    'description': 'Snapshots of libvirt guests into Glance',
    'page_width': '1000px',
}

master_doc = 'index'
exclude_patterns = ['_static/*']
pygments_style = 'default'

# The sample of nova.conf, made from the help texts; git ignores it.
_GENERATOR = os.path.abspath(os.path.join(
    os.path.dirname(__file__), '..', '..', 'etc', 'nova_snap',
    'nova-snap-config-generator.conf'))
config_generator_config_file = [(_GENERATOR, '_static/nova')]

# What an error message of the documents has to name.
nitpicky = True
