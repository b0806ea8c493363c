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


"""Read the data of an export with the product's client; see bench/reader."""

import sys

from bench import reader_report
from nova_snap.transfer import nbd


def main(argv: list[str]) -> int:
    """Read all and report it."""
    clock = reader_report.Clock()
    with nbd.Export(argv[0]) as export:
        extents = [(one.offset, one.length) for one in export.extents()
                   if not one.is_zero]
        total = 0
        for view in export.read(reader_report.pieces(extents),
                                depth=reader_report.DEPTH):
            total += len(view)
    clock.report(len(extents), total)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
