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

"""What lies below tests/data, by name."""

import pathlib

from nova_snap.model import domain as domain_model

ROOT = pathlib.Path(__file__).parents[1] / 'data'
DOCUMENTS = pathlib.Path(__file__).parents[2] / 'doc' / 'source'


def text(*parts):
    """Read a file of tests/data."""
    return ROOT.joinpath(*parts).read_text()


def document(name):
    """Read a page of the documents: 'reference/journal'."""
    return (DOCUMENTS / f'{name}.rst').read_text()


def xml(name):
    """Read the XML of a domain made by hand: 'raw-root.live'."""
    return text('domains', f'{name}.xml')


def nova34_xml(name):
    """Read the XML of a domain that Nova 34 made: 'image-backed.live'."""
    return text('nova34', f'nova34-{name}.xml')


def domain(name):
    """Return a domain made by hand as values."""
    return domain_model.parse(xml(name))


def nova34_domain(name):
    """Return a domain that Nova 34 made as values."""
    return domain_model.parse(nova34_xml(name))
