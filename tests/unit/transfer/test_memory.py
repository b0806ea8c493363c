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

"""What memory an image takes while it is made and sent, of any disk."""

import re
import subprocess
import sys
import textwrap

from nova_snap import units
from tests.fakes import nbd as fake_nbd
from tests.unit.transfer import exports

# Data and zeros by turns, each a cluster of QEMU's.
EXTENTS = 1_000_000
BLOCK = exports.BLOCK
# Bytes above those that the program has before.
MOST = 64 * units.MiB
# Of the image; its metadata take a third of that.
WANTED = 24 * units.MiB

# A process of its own: the peak is that of all its life. More than the
# metadata of the image are read: all buffers are in use.
PROGRAM = textwrap.dedent("""\
    import pathlib
    import re
    import sys
    from nova_snap.model import qcow2
    from nova_snap.transfer import disk
    from nova_snap.transfer import nbd

    def memory(name):
        text = pathlib.Path('/proc/self/status').read_text()
        return int(re.search(name + r':\\s+(\\d+) kB', text)[1]) * 1024

    path, wanted = sys.argv[1:]
    idle = memory('VmRSS')
    with nbd.Export(path) as one:
        size, extents = one.size_bytes, one.extents()
    count = len(extents)
    source = disk.DiskSource(qcow2.Qcow2(size, extents),
                             lambda: nbd.Export(path))
    del extents
    left = int(wanted)
    with source.open() as reader:
        while left > 0:
            left -= len(reader.read())
    print(count, source.size_bytes, memory('VmHWM') - idle)
    """)


def status(cookie, offset, length):
    first = offset // BLOCK
    return [fake_nbd.status(cookie, [
        (BLOCK, place % 2 * fake_nbd.ZERO)
        for place in range(first, first + length // BLOCK)])]


class MemoryTestCase(exports.ExportTestCase):

    def test_a_disk_in_a_million_pieces(self):
        size = EXTENTS * BLOCK
        self.serve(b'', size=size, block_status=status)

        said = subprocess.run(
            [sys.executable, '-c', PROGRAM, self.path, str(WANTED)],
            check=True, capture_output=True, text=True).stdout

        count, image, above = map(int, re.findall(r'\d+', said))
        # No zeros were taken for data.
        self.assertEqual(EXTENTS, count)
        self.assertLess(image, size * 0.51)
        self.assertLess(above, MOST)
