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

"""Every service's tables, made once and kept as they are when new.

To make them takes a minute; to copy the files of a server that has them, a
second. A cloud always begins with a copy: nothing of an earlier run is in
it.
"""

import concurrent.futures
import pathlib
import shutil

from tests.e2e import backends
from tests.e2e import config
from tests.e2e import layout
from tests.e2e import machine
from tests.lab import place
from tests.lab import process

# The folders that hold the tables, and the keys keystone made with them.
KEPT = ('mariadb', 'keystone', 'glance')


def prepare(where: layout.Layout, services: machine.Machine,
            mariadb: backends.MariaDB) -> None:
    """Start the database server, with tables as new as can be.

    :raises LabError: when a service cannot make its tables
    """
    kept = where.run_dir / layout.PRISTINE / layout.stamp(where)
    if not kept.exists():
        shutil.rmtree(kept.parent, ignore_errors=True)
        _make(where, services, mariadb)
        mariadb.stop()
        _keep(where, kept)
    for name in KEPT:
        shutil.rmtree(where.run_dir / name, ignore_errors=True)
        _copy(kept / name, where.run_dir / name)
    # The user may have another number since.
    uid, gid = services.ids
    for name in ('keystone', 'glance'):
        process.run(['chown', '-R', f'{uid}:{gid}',
                     str(where.run_dir / name)])
    mariadb.start()


def _keep(where: layout.Layout, kept: pathlib.Path) -> None:
    unfinished = kept.with_name('unfinished')
    place.make_dir(unfinished, 0o700)
    for name in KEPT:
        _copy(where.run_dir / name, unfinished / name)
    unfinished.rename(kept)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    process.run(['cp', '-a', '--reflink=auto', str(source), str(target)])


def _make(where: layout.Layout, services: machine.Machine,
          mariadb: backends.MariaDB) -> None:
    for name in KEPT:
        shutil.rmtree(where.run_dir / name, ignore_errors=True)
    mariadb.install()
    mariadb.start()
    mariadb.make_databases(backends.DATABASES)
    services.own(where.run_dir / 'keystone')
    folder = services.own(where.run_dir / 'glance')
    for name in ('images', 'staging', 'tasks', 'lock'):
        services.own(folder / name)
    # One chain for each core.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        chains = [pool.submit(_make_nova, where, services),
                  pool.submit(_make_others, where, services)]
    for chain in chains:
        chain.result()


def _make_nova(where: layout.Layout, services: machine.Machine) -> None:
    manage = layout.program('nova', 'nova-manage')
    services.run([manage, 'api_db', 'sync'])
    services.run([manage, 'cell_v2', 'map_cell0', '--database_connection',
                  where.database('nova_cell0')])
    services.run([manage, 'db', 'sync'])
    services.run([manage, 'cell_v2', 'create_cell', '--name', 'cell1'])


def _make_others(where: layout.Layout, services: machine.Machine) -> None:
    manage = layout.program('control', 'keystone-manage')
    url = f'{where.url("keystone")}/v3'
    user = ['--keystone-user', machine.USER, '--keystone-group', machine.USER]
    services.run([manage, 'db_sync'])
    services.run([manage, 'fernet_setup', *user])
    services.run([manage, 'credential_setup', *user])
    services.run([manage, 'bootstrap', '--bootstrap-password', where.password,
                  '--bootstrap-region-id', config.REGION,
                  '--bootstrap-public-url', url,
                  '--bootstrap-internal-url', url])
    services.run([layout.program('control', 'neutron-db-manage'),
                  'upgrade', 'head'])
    services.run([layout.program('services', 'glance-manage'), 'db_sync'])
