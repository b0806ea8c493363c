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

"""Give what reads the bytes of a guest or of a file any bytes; see tools/fuzz.

Each target is run by a process of its own, ``python -m tests.faults.fuzz
--target NAME``, with atheris: it changes the bytes by what the code did with
the last ones. An exception that no caller expects, a wait without end and
memory without end are each a find.
"""

import argparse
import collections.abc as cabc
import contextlib
import dataclasses
import json
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import types

import atheris

with atheris.instrument_imports(include=['nova_snap']):
    from lxml import etree

    from nova_snap import errors
    from nova_snap.flows import recovery
    from nova_snap.journal import store as store_module
    from nova_snap.model import block_device
    from nova_snap.model import domain as domain_model
    from nova_snap.model import first_bytes as first_bytes_model
    from nova_snap.model import probe
    from nova_snap.transfer import nbd
    from nova_snap.transfer import nbd_wire
from tests.lab import place

# Below the lab's folder: what led to something new, for each target.
CORPUS = 'fuzz'
# Bytes; all seeds are shorter.
LONGEST = 64 << 10
# Seconds for one input, and MiB for all of the process.
SLOWEST, MOST_MEMORY = 10, 2048
# The size of the disk that a server has which ends its handshake well.
DISK_SIZE = 1 << 20
# A guest's own bytes are text where XML and JSON are read.
ENCODING = 'utf-8'

RECORD_ID = 'fuzzed'

Target = cabc.Callable[[bytes], None]


def first_bytes(data: bytes) -> None:
    """Judge the first bytes of a disk, as its guest wrote them."""
    reason = first_bytes_model.why_refused(data)
    assert reason is None or reason
    found = probe.format_of(data)
    assert found in ('', 'raw', 'qcow2'), found
    if found == 'qcow2':
        assert first_bytes_model.is_qcow2(data)


def domain(data: bytes) -> None:
    """Read a domain's XML; its metadata are another's."""
    text = data.decode(ENCODING, 'replace')
    for parse in (domain_model.parse, domain_model.parse_hostdevs,
                  lambda xml: domain_model.parse_mirror(xml, 'vda')):
        with contextlib.suppress(etree.XMLSyntaxError, ValueError):
            parse(text)


def mapping(data: bytes) -> None:
    """Read the block device mapping of an image, as its owner wrote it."""
    for one in block_device.snapshots_named({
            block_device.MAPPING_PROPERTY: data.decode(
                ENCODING, 'replace')}) or ():
        assert isinstance(one, str)


def record(data: bytes) -> None:
    """Read a record of the journal, and make its steps anew."""
    STORE.path.joinpath(f'{RECORD_ID}{store_module.SUFFIX}').write_bytes(data)
    with contextlib.suppress(errors.JournalError):
        recovery._steps(STORE.read(RECORD_ID))


def server(data: bytes) -> None:
    """Talk to an NBD server: one of QEMU's, or what sits in its place."""
    with contextlib.suppress(errors.ExportFailed):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF,
                              4 * LONGEST)
            # The first byte chooses how far all is well.
            theirs.sendall((b'' if data[:1] < b'\x40' else handshake())
                           + data[1:])
            theirs.shutdown(socket.SHUT_WR)
            export = nbd.Export('', timeout=SLOWEST / 2)
            export._wire.connect = types.MethodType(  # type: ignore
                lambda wire: setattr(wire, '_socket', ours), export._wire)
            with export:
                if data[:1] < b'\x80':
                    export.extents()
                size = min(export.size_bytes, nbd.LARGEST_READ)
                for view in export.read(
                        [(0, size), (0, 1)] if size else []):
                    assert len(view) in (size, 1)
                export.settle()


def handshake() -> bytes:
    """Return what a server says until it is ready for requests."""
    def answer(option: int, kind: int, content: bytes = b'') -> bytes:
        return struct.pack('>QIII', nbd_wire.OPTION_REPLY_MAGIC, option, kind,
                           len(content)) + content

    return struct.pack('>16sH', nbd_wire.MAGIC, 1) + b''.join((
        answer(nbd_wire.OPT_STRUCTURED_REPLY, nbd_wire.REP_ACK),
        answer(nbd_wire.OPT_SET_META_CONTEXT, nbd_wire.REP_META_CONTEXT,
               bytes(4) + nbd_wire.ALLOCATION),
        answer(nbd_wire.OPT_SET_META_CONTEXT, nbd_wire.REP_ACK),
        answer(nbd_wire.OPT_GO, 3, struct.pack(
            '>HQH', nbd_wire.INFO_EXPORT, DISK_SIZE, 1)),
        answer(nbd_wire.OPT_GO, nbd_wire.REP_ACK)))


def replies() -> list[bytes]:
    """Return what servers answer to the first requests."""
    def chunk(cookie: int, kind: int, content: bytes,
              flags: int = nbd.REPLY_FLAG_DONE) -> bytes:
        return struct.pack('>IHHQI', nbd.STRUCTURED_REPLY_MAGIC, flags, kind,
                           cookie, len(content)) + content

    status = chunk(1, nbd.REPLY_BLOCK_STATUS,
                   struct.pack('>IIIII', 0, 4096, 0, DISK_SIZE - 4096, 3))
    data = chunk(2, nbd.REPLY_OFFSET_DATA, bytes(8) + b'data' * 1024, 0)
    hole = chunk(2, nbd.REPLY_OFFSET_HOLE,
                 struct.pack('>QI', 4096, DISK_SIZE - 4096))
    refusal = chunk(1, nbd.REPLY_ERROR + 1, struct.pack('>IH5s', 5, 5,
                                                        b'sorry'))
    return [b'\0' + handshake() + status, b'\x40' + status + data + hole,
            b'\x40' + refusal, b'\x80' + hole]


def _documents(pattern: str) -> list[bytes]:
    return [path.read_bytes()
            for path in (place.CHECKOUT / 'tests' / 'data').glob(pattern)]


@dataclasses.dataclass(frozen=True)
class Fuzzed:
    """A target, and the bytes to begin with."""

    run: Target
    seeds: cabc.Callable[[], list[bytes]]


TARGETS = {
    'first-bytes': Fuzzed(first_bytes, lambda: [
        start.ljust(size, b'\0') for size in (
            probe.HEAD_BYTES, first_bytes_model.LENGTH)
        for start in (b'QFI\xfb\0\0\0\3', b'KDMV', b'LUKS\xba\xbe\0\1',
                      b'vhdxfile', b'conectix', b'QED\0', b'COWD',
                      bytes(510) + b'\x55\xaa')]),
    'domain': Fuzzed(domain, lambda: _documents('domains/*.xml')),
    'mapping': Fuzzed(mapping, lambda: [json.dumps([
        {'snapshot_id': 'a', 'source_type': 'snapshot', 'boot_index': 0,
         'device_name': '/dev/vda'}]).encode()]),
    'record': Fuzzed(record, lambda: _documents('journal/*.json')),
    'server': Fuzzed(server, replies),
}
# Set in the process of a target.
STORE: store_module.Store


def main() -> int:
    """Fuzz each target that is named, or all; 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog='tools/fuzz', allow_abbrev=False)
    parser.add_argument('seconds', type=int, help='for each target')
    parser.add_argument('targets', nargs='*', metavar='TARGET',
                        help=f'of {", ".join(TARGETS)}; default: all')
    told = parser.parse_args()
    names = told.targets or list(TARGETS)
    failed = 0
    for name in names:
        if name not in TARGETS:
            parser.error(f'there is no target {name}')
        corpus = place.make_dir(place.lab_dir() / CORPUS / name)
        for number, seed in enumerate(TARGETS[name].seeds()):
            (corpus / f'seed-{number}').write_bytes(seed)
        done = subprocess.run([
            sys.executable, '-m', __spec__.name, '--target', name,
            f'-max_total_time={told.seconds}', f'-max_len={LONGEST}',
            f'-timeout={SLOWEST}', f'-rss_limit_mb={MOST_MEMORY}',
            f'-artifact_prefix={corpus.parent}/{name}-',
            '-print_final_stats=1', str(corpus)],
            stderr=subprocess.PIPE, text=True)
        tried = [line.split()[-1] for line in done.stderr.splitlines()
                 if 'number_of_executed_units' in line]
        print(f'{"not ok" if done.returncode else "ok"} {name}: '
              f'{"".join(tried)} inputs', flush=True)
        if done.returncode:
            failed += 1
            print(done.stderr[-4000:])
    return 1 if failed else 0


def run_target(name: str, arguments: list[str]) -> None:
    """Fuzz one target in this process, which ends here."""
    global STORE
    folder = pathlib.Path(tempfile.mkdtemp(prefix='nova_snap-fuzz-'))
    try:
        STORE = store_module.Store(str(folder))
        STORE.prepare()
        atheris.Setup([sys.argv[0], *arguments], TARGETS[name].run)
        atheris.Fuzz()
    finally:
        shutil.rmtree(folder)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--target']:
        run_target(sys.argv[2], sys.argv[3:])
    sys.exit(main())
