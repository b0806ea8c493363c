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

"""The way to a cluster of Ceph's, by Ceph's own Python bindings.

They are Nova's and Glance's too, and in no package index: those of the
distribution are loaded when Ceph is first asked.

Each call connects anew, which takes some 20 ms, and lets go of everything.
Each operation of Ceph's has a deadline, so each call has an end, also when no
monitor and no OSD answers.
"""

import collections.abc as cabc
import contextlib
import errno
import importlib
import json
import typing as ty

from nova_snap import errors
from nova_snap.host import rbd_opened
from nova_snap.model import ceph as ceph_model

# The package that has both bindings, and what loads it.
PACKAGE = 'python3-rbd'

# Seconds for each operation of an OSD or a monitor. Without a bound librados
# waits for ever; a cluster that recovers answers well within this.
# :source: ceph src/common/options rados_osd_op_timeout
OPERATION_SECONDS = 30
# For a manager, which has at most a small file to write. Where none runs, no
# answer comes.
MANAGER_SECONDS = 5
# For the question what is wrong, after another one got no answer.
HEALTH_SECONDS = 3

_KINDS: dict[int, type[ceph_model.CephError]] = {
    errno.EPERM: ceph_model.Refused,
    errno.EACCES: ceph_model.Refused,
    errno.ENOENT: ceph_model.Gone,
    errno.EEXIST: ceph_model.Exists,
    errno.EBUSY: ceph_model.Busy,
    errno.ENOTEMPTY: ceph_model.Busy,
    errno.ENOSPC: ceph_model.Full,
    errno.EDQUOT: ceph_model.Full,
    errno.ETIMEDOUT: ceph_model.Unavailable,
    # What a client is answered that was banned for being silent.
    errno.ESHUTDOWN: ceph_model.Unavailable,
}


class Bindings(ty.NamedTuple):
    """The two modules of Ceph's."""

    rados: ty.Any
    rbd: ty.Any


def load() -> Bindings:
    """Load Ceph's bindings.

    :raises ConfigError: when they are not there, saying where they come from
    """
    try:
        return Bindings(importlib.import_module('rados'),
                        importlib.import_module('rbd'))
    except ImportError as exc:
        raise errors.ConfigError(
            option='[libvirt]images_type',
            reason=f'a disk in Ceph needs the Python modules rados and rbd '
                   f'({exc}). Install them with "apt-get install {PACKAGE}" '
                   f'or "dnf install {PACKAGE}"; a virtual environment does '
                   'not see them unless it was made with '
                   '--system-site-packages') from exc


class Client:
    """One cluster, as one client, and how it is asked.

    :ivar client: as whom it is asked, as in ``client.nova``
    """

    def __init__(self, config_file: str, user: str | None, *,
                 connect_timeout: int,
                 operation_timeout: int = OPERATION_SECONDS,
                 bindings: cabc.Callable[[], Bindings] = load) -> None:
        """Remember how the cluster is reached; nothing is asked yet.

        :param config_file: '' for the places where Ceph looks by itself
        :param user: without "client."; None for Ceph's default, admin
        :param connect_timeout: seconds; less than 1 is no bound but the next
        :param operation_timeout: seconds for each operation of Ceph's, of
            which a call is several
        """
        self._config_file = config_file
        self._user = user or None
        self._timeout = connect_timeout
        self._operation = operation_timeout
        self._bindings = bindings
        self.client = ceph_model.client(user)

    @contextlib.contextmanager
    def _image(self, name: ceph_model.Name, call: str, *,
               seconds: int | None = None) -> cabc.Iterator[ty.Any]:
        """Have an image open, to be changed."""
        rbd = self._bindings().rbd
        with self._in(name.pool, call, seconds=seconds) as pooled, \
                self._translated(call, name), \
                rbd_opened.closing(rbd.Image(pooled, name.image),
                                   rbd.Error) as image:
            yield image

    @contextlib.contextmanager
    def _in(self, pool: str, call: str, *,
            seconds: int | None = None) -> cabc.Iterator[ty.Any]:
        """Have a pool open."""
        about = f'pool {pool}'
        with self._connected(call, about, seconds=seconds) as cluster, \
                self._translated(call, about, pool=pool), \
                cluster.open_ioctx(pool) as pooled:
            yield pooled

    def _manager(self, call: str, name: ceph_model.Name, command: str,
                 **arguments: str) -> ty.Any:
        """Have a manager carry a command out, and return its answer.

        :source: ceph src/librados/RadosClient.cc mgr_command: the bound is
            that of the monitors, and its number has no sign
        """
        words = {'prefix': command, 'format': 'json', **arguments}
        with self._connected(call, str(name),
                             seconds=MANAGER_SECONDS) as cluster, \
                self._translated(call, name):
            code, answer, said = cluster.mgr_command(json.dumps(words), b'')
        if not code:
            try:
                return json.loads(answer or 'null')
            except ValueError as exc:
                raise self._error(
                    ceph_model.CephError, call, name,
                    f'a manager answered what is no JSON: {exc}') from exc
        kind = _KINDS.get(abs(code), ceph_model.CephError)
        if kind is ceph_model.Refused:
            said += _capabilities(self.client, name.pool, 'managers')
        raise self._error(kind, call, name, said or 'no manager answers')

    @contextlib.contextmanager
    def _connected(self, call: str, name: str, *,
                   seconds: int | None = None) -> (
                       cabc.Iterator[ty.Any]):
        """Have a connection for the block."""
        rados = self._bindings().rados
        seconds = min(seconds or self._operation, self._operation)
        try:
            cluster = rados.Rados(conffile=self._config_file,
                                  rados_id=self._user)
        except rados.Error as exc:
            raise errors.ConfigError(
                option='[libvirt]images_rbd_ceph_conf',
                reason=f'{self._config_file or ceph_model.DEFAULT_CONF} '
                       f'cannot be read: {exc}') from exc
        with self._translated(call, name):
            mount = self._timeout if self._timeout > 0 else seconds
            for option, bound in (('client_mount_timeout', mount),
                                  ('rados_mon_op_timeout', seconds),
                                  ('rados_osd_op_timeout', seconds)):
                cluster.conf_set(option, str(bound))
        try:
            self._connect(cluster, call, name)
            yield cluster
        finally:
            cluster.shutdown()

    def _connect(self, cluster: ty.Any, call: str, name: str) -> None:
        try:
            cluster.connect()
        except self._bindings().rados.Error as exc:
            code = getattr(exc, 'errno', None)
            if code == errno.ETIMEDOUT:
                raise self._error(
                    ceph_model.Unavailable, call, name,
                    'no monitor answers at '
                    f'{cluster.conf_get("mon_host")}') from exc
            raise self._error(
                ceph_model.Refused, call, name,
                f'{_words(exc)}. Its key must be in a file that this process '
                f'can read, as /etc/ceph/ceph.{self.client}.keyring, and be '
                f'that of "ceph auth get {self.client}"') from exc

    @contextlib.contextmanager
    def _translated(self, call: str, name: ceph_model.Name | str, *,
                    pool: str | None = None) -> cabc.Iterator[None]:
        """Turn what the bindings raise into our errors."""
        rados, rbd = self._bindings()
        if isinstance(name, ceph_model.Name):
            pool = name.pool
        try:
            yield
        except (rados.Error, rbd.Error) as exc:
            code = getattr(exc, 'errno', None)
            kind = _KINDS.get(code or 0, ceph_model.CephError)
            reason = _words(exc)
            if kind is ceph_model.Refused:
                reason += _capabilities(self.client, pool or 'POOL', 'OSDs')
            elif kind is ceph_model.Unavailable:
                reason += f'. {self._health()}'
            raise self._error(kind, call, name, reason) from exc

    def _error(self, kind: type[ceph_model.CephError], call: str,
               name: ceph_model.Name | str,
               reason: str) -> ceph_model.CephError:
        return kind(call=call, name=str(name), client=self.client,
                    reason=reason)

    def _health(self) -> str:
        """Return in a sentence what the monitors say is wrong."""
        rados = self._bindings().rados
        cluster = rados.Rados(conffile=self._config_file,
                              rados_id=self._user)
        try:
            for option in ('client_mount_timeout', 'rados_mon_op_timeout'):
                cluster.conf_set(option, str(HEALTH_SECONDS))
            cluster.connect()
            code, answer, _ = cluster.mon_command(
                json.dumps({'prefix': 'health', 'format': 'json'}), b'')
            if code:
                return 'Look at "ceph health detail"'
            health = json.loads(answer)
            checks = '; '.join(check['summary']['message']
                               for check in health['checks'].values())
            return f'The monitors say {health["status"]}: {checks}'
        except (rados.Error, ValueError, KeyError):
            return ('No monitor answers any more at '
                    f'{cluster.conf_get("mon_host")}')
        finally:
            cluster.shutdown()


def _words(exc: Exception) -> str:
    """Return what a binding says, without its number."""
    said = str(exc)
    return said.partition('] ')[2] or said


def _capabilities(client: str, pool: str, daemons: str) -> str:
    return (f'. It needs the capability "profile rbd pool={pool}" of the '
            f'{daemons}: see what it has with "ceph auth get {client}", and '
            'give it all of that and this one with "ceph auth caps"')
