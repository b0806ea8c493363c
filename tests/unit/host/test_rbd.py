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

"""How Ceph's bindings are called, and what becomes of what they raise."""

import contextlib
import errno
import json
import types

import ddt
from oslotest import base

from nova_snap import errors
from nova_snap.host import rbd as rbd_module
from nova_snap.host import rbd_client
from nova_snap.model import ceph as ceph_model

NAME = ceph_model.Name('vms', 'disk', 'one')


class Error(Exception):
    """As both bindings have it."""

    def __init__(self, number, words):
        super().__init__(f'[errno {number}] {words}')
        self.errno = number


class Cluster:
    """A connection that remembers its options and fails as it was told."""

    def __init__(self, ceph, **asked):
        self.ceph = ceph
        ceph.asked.append(asked)
        self.options = {'mon_host': '192.0.2.1'}
        ceph.opened.append(self)

    def conf_set(self, name, value):
        self.options[name] = value

    def conf_get(self, name):
        return self.options.get(name)

    def connect(self):
        if self.ceph.connect is not None:
            raise self.ceph.connect

    def mon_command(self, words, data):
        return 0, (b'{"status": "HEALTH_ERR", "checks": {"OSD_FULL": '
                   b'{"summary": {"message": "1 full osd(s)"}}}}'), ''

    def mgr_command(self, words, data):
        self.ceph.commands.append(json.loads(words))
        return self.ceph.answers.pop(0)

    @contextlib.contextmanager
    def open_ioctx(self, pool):
        yield self

    def remove_object(self, name):
        raise self.ceph.fails

    def shutdown(self):
        self.ceph.opened.remove(self)


class Image:
    """An image that is open."""

    def __init__(self, ceph):
        self.ceph = ceph

    def size(self):
        return 0

    def close(self):
        if self.ceph.close is not None:
            raise self.ceph.close


class Ceph:
    """Both bindings.

    :ivar fails: what a call raises
    :ivar connect: what a connection raises
    :ivar close: what an image raises that is closed
    :ivar opened: connections that are not closed
    :ivar answers: of a manager, to one command after the other
    """

    def __init__(self):
        self.fails = self.connect = self.close = None
        self.asked, self.opened = [], []
        self.commands, self.answers = [], []

    def load(self):
        gone = type('ObjectNotFound', (Error,), {})
        return rbd_client.Bindings(
            types.SimpleNamespace(
                Error=Error, ObjectNotFound=gone,
                Rados=lambda **asked: Cluster(self, **asked)),
            types.SimpleNamespace(Error=Error, OSError=Error,
                                  Image=lambda *_, **__: Image(self)))


class ClientTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.fake = Ceph()
        self.ceph = rbd_module.Ceph('/etc/ceph/a.conf', 'nova',
                                    connect_timeout=5,
                                    bindings=self.fake.load)


@ddt.ddt
class CephTestCase(ClientTest):

    def test_without_the_bindings_the_package_is_named(self):
        self.patch(rbd_client.importlib, 'import_module', self._missing)

        error = self.assertRaises(errors.ConfigError, rbd_client.load)

        self.assertIn('python3-rbd', str(error))
        self.assertIn("No module named 'rados'", str(error))

    @staticmethod
    def _missing(name):
        raise ImportError(f'No module named {name!r}')

    @ddt.data(
        (errno.EPERM, ceph_model.Refused),
        (errno.EACCES, ceph_model.Refused),
        (errno.ENOENT, ceph_model.Gone),
        (errno.EBUSY, ceph_model.Busy),
        (errno.ENOTEMPTY, ceph_model.Busy),
        (errno.ENOSPC, ceph_model.Full),
        (errno.EDQUOT, ceph_model.Full),
        (errno.ETIMEDOUT, ceph_model.Unavailable),
        (errno.EIO, ceph_model.CephError),
    )
    @ddt.unpack
    def test_an_error_is_of_a_kind_and_says_its_words(self, number, kind):
        self.fake.fails = Error(number, 'as it says')

        error = self.assertRaises(ceph_model.CephError,
                                  self.ceph.check_writable, 'images')

        self.assertIs(kind, type(error))
        self.assertIn('as it says', str(error))
        self.assertIn('images', str(error))
        self.assertIn('client.nova', str(error))
        self.assertNotIn('errno', str(error))
        self.assertEqual([], self.fake.opened)

    def test_what_is_silent_is_asked_what_is_wrong(self):
        self.fake.fails = Error(errno.ETIMEDOUT, 'timed out')

        error = self.assertRaises(ceph_model.Unavailable,
                                  self.ceph.check_writable, 'images')

        self.assertIn('HEALTH_ERR: 1 full osd(s)', str(error))

    def test_monitors_that_do_not_answer_are_named(self):
        self.fake.connect = Error(errno.ETIMEDOUT, 'timed out')

        error = self.assertRaises(ceph_model.Unavailable, self.ceph.fsid)

        self.assertIn('no monitor answers at 192.0.2.1', str(error))
        self.assertEqual([], self.fake.opened)

    def test_a_key_that_is_not_taken_is_said_where_it_is_looked_for(self):
        self.fake.connect = Error(errno.EACCES, 'permission denied')

        error = self.assertRaises(ceph_model.Refused, self.ceph.fsid)

        self.assertIn('/etc/ceph/ceph.client.nova.keyring', str(error))

    def test_what_is_wrong_is_said_and_not_that_it_cannot_be_closed(self):
        self.fake.close = Error(errno.ESHUTDOWN, 'cannot be closed')

        error = self.assertRaises(ceph_model.Full, self.ceph.fill, NAME,
                                  self._fill_up)

        self.assertIn('no space', str(error))
        self.assertEqual([], self.fake.opened)

    @staticmethod
    def _fill_up(opened):
        raise ceph_model.Full(call='write', name='disk', client='client.nova',
                              reason='no space')

    def test_an_image_that_cannot_be_closed_is_not_whole(self):
        self.fake.close = Error(errno.EIO, 'cannot be closed')

        error = self.assertRaises(ceph_model.CephError, self.ceph.fill, NAME,
                                  lambda opened: None)

        self.assertIn('close vms/disk@one', str(error))

    def test_every_operation_has_a_bound(self):
        bounds = {}
        self.patch(Cluster, 'shutdown',
                   lambda cluster: bounds.update(cluster.options))
        self.fake.fails = Error(errno.EIO, 'broken')

        self.assertRaises(ceph_model.CephError, self.ceph.check_writable,
                          'images')

        self.assertEqual(
            {'client_mount_timeout': '5', 'rados_mon_op_timeout': '30',
             'rados_osd_op_timeout': '30'},
            {name: value for name, value in bounds.items()
             if name.endswith('timeout')})


def task(image, **facts):
    """Make a task as a manager lists it."""
    return {'id': f'of {image}', 'refs': {
        'action': 'flatten', 'pool_name': 'images', 'pool_namespace': '',
        'image_name': image}, **facts}


@ddt.ddt
class ManagerTestCase(ClientTest):

    name = ceph_model.Name('images', 'mine')

    def answer(self, *tasks):
        self.fake.answers.append((0, json.dumps(tasks).encode(), ''))

    @ddt.data(
        (-errno.EACCES, ceph_model.Refused, 'access denied'),
        (-errno.ENOENT, ceph_model.Gone, 'image not found'),
        (errno.ETIMEDOUT, ceph_model.Unavailable, 'no manager answers'),
        (-errno.EINVAL, ceph_model.CephError, 'no valid command found'),
        (0, ceph_model.CephError, 'no JSON'),
    )
    @ddt.unpack
    def test_an_error_is_of_a_kind_and_says_its_words(self, code, kind, said):
        self.fake.answers = [
            (code, b'Hello' if not code else b'',
             '' if kind is ceph_model.Unavailable else said)]

        error = self.assertRaises(ceph_model.CephError,
                                  self.ceph.add_flatten, self.name)

        self.assertIs(kind, type(error))
        self.assertIn(said, str(error))
        self.assertIn('images/mine', str(error))
        self.assertEqual([], self.fake.opened)

    def test_the_capability_that_is_missing_is_named(self):
        self.fake.answers = [(-errno.EACCES, b'', 'access denied')]

        error = self.assertRaises(ceph_model.Refused, self.ceph.add_flatten,
                                  self.name)

        self.assertIn('"profile rbd pool=images" of the managers', str(error))

    def test_it_knows_its_own_tasks(self):
        other_pool = task('mine')
        other_pool['refs'] = {**other_pool['refs'], 'pool_name': 'vms'}
        removal = task('mine')
        removal['refs'] = {**removal['refs'], 'action': 'remove'}
        self.answer(
            task('theirs', in_progress=True), other_pool, removal,
            {'id': 'of a later release'},
            task('mine', in_progress=True, progress=0.5))

        self.assertEqual([ceph_model.Task('of mine', 0.5, '')],
                         self.ceph.flattening(self.name))

    def test_one_that_waits_has_no_share(self):
        self.answer(task('mine'), task('mine', retry_message='it failed'),
                    task('mine', in_progress=True))

        self.assertEqual(
            [(None, ''), (None, 'it failed'), (0.0, '')],
            [(one.share, one.failure)
             for one in self.ceph.flattening(self.name)])

    def test_each_of_its_tasks_is_cancelled_and_may_be_done_before(self):
        self.answer(task('mine', in_progress=True), task('theirs'))
        self.fake.answers.append((-errno.ENOENT, b'', 'No such task'))

        self.ceph.cancel_flatten(self.name)

        self.assertEqual({'prefix': 'rbd task cancel', 'format': 'json',
                          'task_id': 'of mine'}, self.fake.commands[-1])
