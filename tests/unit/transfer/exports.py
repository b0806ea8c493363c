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

"""What the tests of the NBD client share."""

import os
import random
import time

import fixtures
from oslotest import base

from nova_snap import errors
from nova_snap.model import extents as extents_model
from nova_snap.transfer import nbd
from nova_snap import units
from tests.fakes import nbd as fake_nbd

# Seconds that a silent server is waited for.
SHORT = 0.3
# More than that, and less than for ever.
LONG = 5
BLOCK = 64 * units.KiB
DISK = random.Random(1).randbytes(10 * BLOCK + 1000)


class ExportTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.useFixture(fixtures.TempDir()).path,
                                 'nbd.sock')

    def serve(self, disk=DISK, **lies):
        server = fake_nbd.Server(self.path, disk, **lies)
        server.__enter__()
        self.addCleanup(server.__exit__)
        return server

    def export(self, name='', timeout=LONG):
        return nbd.Export(self.path, name, timeout=timeout)

    def failure(self, call, timeout=LONG):
        """Return the reason of the one error that a call ends with."""
        started = time.monotonic()
        raised = self.assertRaises(errors.ExportFailed, self.try_, call,
                                   timeout)
        self.assertLess(time.monotonic() - started, timeout + 2)
        self.assertEqual(self.path, raised.path)
        return raised.reason

    def try_(self, call, timeout=LONG):
        with self.export(timeout=timeout) as export:
            try:
                call(export)
            except errors.ExportFailed:
                # It stays closed.
                self.assertRaises(errors.ExportFailed, export.extents)
                raise


def nothing(export):
    pass


def read_all(export, size=BLOCK, depth=4, end=None):
    """Return the whole disk, read in ranges."""
    end = export.size_bytes if end is None else end
    return b''.join(
        bytes(view) for view in export.read(
            [(at, min(size, end - at)) for at in range(0, end, size)],
            depth=depth))


def patience(reason):
    """Wait for silence only a little, and for all else until it comes."""
    return SHORT if reason.startswith('no answer') else LONG


def said(option, *answers):
    """Say so to one option."""
    return {option: lambda _option, _data: [
        answer if not isinstance(answer, tuple)
        else fake_nbd.option_reply(option, *answer) for answer in answers]}


def data_at(*extents):
    return [extents_model.Extent(*extent) for extent in extents]
