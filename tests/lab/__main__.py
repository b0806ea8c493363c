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

"""Start, end or show the lab: ``python -m tests.lab up|down|status``.

With ``--volumes`` Ceph and Cinder are started and shown too, and they alone
are ended.
"""

import argparse
import pathlib
import shutil
import sys
import time

from tests.lab import errors
from tests.lab import glance as glance_module
from tests.lab.guest import build as guest_build
from tests.lab import hypervisor
from tests.lab import place
from tests.lab import storage as storage_module


def up(run_dir: pathlib.Path, *, volumes: bool = False) -> int:
    """Start what does not run, and say where it is.

    :param volumes: Ceph and Cinder too
    """
    started = time.monotonic()
    images = glance_module.Glance(run_dir).start(wait=False)
    if volumes:
        storage_module.Storage(run_dir, images).start()
    guest_build.parts()
    hypervisor.Libvirtd(run_dir).start()
    images.wait_ready()
    status(run_dir)
    print(f'up after {time.monotonic() - started:.1f} s')
    return 0


def down(run_dir: pathlib.Path, *, wipe: bool = False,
         volumes: bool = False) -> int:
    """End every process of a run and unmount what it mounted.

    What earlier sources have built goes with the last run that ends.

    :param volumes: end Ceph and Cinder alone
    """
    images = glance_module.Glance(run_dir)
    if not volumes:
        hypervisor.Libvirtd(run_dir).stop()
    if storage_module.Storage.is_there(run_dir):
        storage_module.Storage(run_dir, images).stop()
    if volumes:
        return 0
    images.stop()
    if wipe:
        shutil.rmtree(run_dir, ignore_errors=True)
    print(f'nothing of {run_dir} runs any more')
    for folder in guest_build.remove_old():
        print(f'{folder} was of earlier sources and is removed')
    return 0


def status(run_dir: pathlib.Path, *, volumes: bool = False) -> int:
    """Say what runs; 0 when everything does.

    :param volumes: Ceph and Cinder are part of everything
    """
    libvirtd = hypervisor.Libvirtd(run_dir)
    images = glance_module.Glance(run_dir)
    where = None
    if storage_module.Storage.is_there(run_dir):
        storage = storage_module.Storage(run_dir, images)
        where = storage.cinder.endpoint if storage.running else None
    if libvirtd.running:
        with libvirtd.connection() as conn:
            names = [domain.name() for domain in conn.listAllDomains()]
        print(f'libvirt  {libvirtd.uri}')
        print(f'KVM      {"works" if libvirtd.kvm_works else "does not work"}')
        print(f'domains  {" ".join(names) or "none"}')
    else:
        print('libvirt  does not run')
    print(f'Glance   {images.endpoint if images.running else "does not run"}')
    print(f'Cinder   {where or "does not run"}')
    return 0 if (libvirtd.running and images.running
                 and (where or not volumes)) else 1


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog='python -m tests.lab',
                                     description=__doc__)
    parser.add_argument('action', choices=('up', 'down', 'status'))
    parser.add_argument('--run-dir', type=pathlib.Path,
                        help='one lab of several (default: the folder "run" '
                             'below NOVA_SNAP_LAB)')
    parser.add_argument('--wipe', action='store_true',
                        help='with down: delete the run folder too')
    parser.add_argument('--volumes', action='store_true',
                        help='start or show Ceph and Cinder too; with '
                             'down: end them alone')
    options = parser.parse_args()
    try:
        run_dir = (options.run_dir or place.default_run_dir()).resolve()
        if options.action == 'down':
            return down(run_dir, wipe=options.wipe,
                        volumes=options.volumes)
        return {'up': up, 'status': status}[options.action](
            run_dir, volumes=options.volumes)
    except errors.LabError as exc:
        print(f'tests.lab: {exc}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
