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


"""What the measured things ran on."""

import datetime
import importlib.metadata
import os
import pathlib
import re

from bench import scene as scene_module
from nova_snap import units
from tests.lab import place
from tests.lab import process

GLANCE = 'import importlib.metadata as m; print(m.version("glance"))'


def facts(scene: scene_module.Scene) -> dict[str, str]:
    """Return names and values, in the order in which they are shown."""
    cpu = re.search(r'^model name\s*: (.*)$',
                    pathlib.Path('/proc/cpuinfo').read_text(), re.MULTILINE)
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    with scene.libvirtd.connection() as conn:
        libvirt, qemu = conn.getLibVersion(), conn.getVersion()
    return {
        'date': datetime.datetime.now(datetime.timezone.utc).date(
            ).isoformat(),
        'processor': cpu[1] if cpu else os.uname().machine,
        'cores': str(os.cpu_count()),
        'memory': units.format_bytes(memory),
        'file system': process.run(
            ['findmnt', '--noheadings', '--output', 'FSTYPE', '--target',
             str(scene.run_dir)]).strip(),
        'kernel': os.uname().release,
        'guests run on': 'KVM' if scene.libvirtd.kvm_works
        else 'QEMU\'s emulation',
        'QEMU': version(qemu),
        'libvirt': version(libvirt),
        'Glance': process.run([str(place.services_python()), '-c',
                               GLANCE]).strip(),
        'python-glanceclient': importlib.metadata.version(
            'python-glanceclient'),
        'nova_snap': process.run(['git', 'describe', '--always', '--dirty'],
                                 cwd=place.CHECKOUT).strip(),
        'load before': f'{os.getloadavg()[0]:.1f}',
    }


def version(number: int) -> str:
    """Write a version of libvirt's or QEMU's as everybody does.

    :source: libvirt, virConnectGetVersion(): 1,000,000 a major version, 1,000
        a minor one
    """
    return (f'{number // 1000000}.{number // 1000 % 1000}.'
            f'{number % 1000}')
