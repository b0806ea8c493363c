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

"""What guests, image owners and other clients can write, read by the model."""

import json
import random

import ddt
import hypothesis
from hypothesis import strategies
from lxml import etree
from oslotest import base

from nova_snap.model import block_device
from nova_snap.model import domain as domain_model
from nova_snap.model import first_bytes as first_bytes_model
from nova_snap.model import probe
from nova_snap import units
from tests.fakes import examples
from tests.unit import data

# Any text that XML can hold.
XML_TEXT = strategies.text(strategies.characters(
    exclude_categories=('Cs', 'Cc')), max_size=200)
HOSTILE = ('', "'", '"', '\n', '../../etc/shadow', 'x' * 4 * units.KiB,
           '<!ENTITY a SYSTEM "file:///etc/shadow">', '&lt;disk/&gt;', ']]>',
           '\u202e\U0001f4be', '%s %(a)s {0}', "'; rm -rf /; '", '-f raw',
           '-1', '1e9', '0x10', '\u0661')
DOMAINS = ('raw-root.live', 'qcow2-without-backing.live', 'lun-root.live')
# Rounds of random damage, for each of the domains.
ROUNDS = 200
SEED = 13
# Deeper than Python's JSON goes.
DEEP = 100_000


@ddt.ddt
class NameTestCase(base.BaseTestCase):
    """Names are text: what is in them comes out of the XML again."""

    def named(self, name):
        root = etree.fromstring(data.xml('raw-root.live').encode())
        root.find('./name').text = f'<{name}>'
        root.find('./devices/disk/source').set('file', f'/srv/{name}')
        return domain_model.parse(etree.tostring(root, encoding='unicode'))

    @ddt.data(*HOSTILE)
    def test_a_hostile_name(self, name):
        self.assertEqual(f'<{name}>', self.named(name).name)

    @examples.settings()
    @hypothesis.given(XML_TEXT)
    def test_any_name(self, name):
        found = self.named(name)
        self.assertEqual(f'<{name}>', found.name)
        self.assertIn(f'/srv/{name}', found.root_disk.source_path)


@ddt.ddt
class XmlTestCase(base.BaseTestCase):
    """libvirt writes the XML; what is in its metadata is another's."""

    def parse(self, xml):
        """Read it, or say by what it cannot be."""
        try:
            domain_model.parse(xml)
        except (etree.XMLSyntaxError, ValueError) as exc:
            return exc
        return None

    @ddt.data(*DOMAINS)
    def test_damaged_anywhere(self, name):
        rng = random.Random(SEED)
        whole = data.xml(name)
        for _ in range(ROUNDS):
            place = rng.randrange(len(whole))
            self.parse(whole[:place] + rng.choice(HOSTILE)[:40]
                       + whole[place + rng.randrange(20):])

    @ddt.data(*DOMAINS)
    def test_an_element_is_missing(self, name):
        root = etree.fromstring(data.xml(name).encode())
        for number in range(1, len(list(root.iter()))):
            again = etree.fromstring(data.xml(name).encode())
            gone = list(again.iter())[number]
            gone.getparent().remove(gone)
            self.assertIsNone(self.parse(etree.tostring(
                again, encoding='unicode')), gone)

    def test_entities_are_not_expanded(self):
        xml = data.xml('raw-root.live')
        start = xml.index('<domain')
        for entity in ('SYSTEM "file:///etc/hostname"', '"expanded"'):
            found = domain_model.parse(
                f'<!DOCTYPE domain [<!ENTITY a {entity}>]>' + xml[start:]
                .replace('<name>', '<name>&a;'))
            self.assertNotIn('expanded', found.name)
            self.assertNotIn('\n', found.name.strip())


class MappingTestCase(base.BaseTestCase):

    @examples.settings()
    @hypothesis.given(strategies.lists(strategies.text(min_size=1),
                                       unique=True, min_size=1))
    def test_snapshots_that_were_written_are_read(self, ids):
        entries = [{'snapshot_id': one, 'source_type': 'snapshot'}
                   for one in ids]
        self.assertEqual(
            tuple(ids), block_device.snapshots_named(
                block_device.properties(entries, '/dev/vda')))

    @examples.settings()
    @hypothesis.given(strategies.text() | strategies.recursive(
        strategies.none() | strategies.text() | strategies.integers(),
        lambda inner: strategies.lists(inner) | strategies.dictionaries(
            strategies.just('snapshot_id') | strategies.text(), inner),
        max_leaves=8).map(json.dumps))
    def test_whatever_the_owner_of_an_image_writes(self, text):
        found = block_device.snapshots_named(
            {block_device.MAPPING_PROPERTY: text})
        for one in found or ():
            self.assertIsInstance(one, str)

    def test_deeper_than_any_mapping(self):
        self.assertIsNone(block_device.snapshots_named(
            {block_device.MAPPING_PROPERTY: '[' * DEEP}))


class BytesTestCase(base.BaseTestCase):
    """A guest writes the first bytes of its disk."""

    STARTS = (b'QFI\xfb', b'KDMV', b'LUKS\xba\xbe', b'vhdxfile', b'conectix',
              b'QED\0', b'')

    @examples.settings()
    @hypothesis.given(strategies.sampled_from(STARTS), strategies.binary())
    def test_they_are_looked_at_and_never_believed(self, start, rest):
        head = start + rest
        first_bytes_model.is_qcow2(head)
        for matches in first_bytes_model.FORMATS.values():
            self.assertIsInstance(matches(head), bool)
        self.assertIsInstance(probe.format_of(head), str)
