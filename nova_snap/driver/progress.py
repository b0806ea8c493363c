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

"""The progress of a snapshot, where ``openstack server show`` has it."""

import collections.abc as cabc
import threading
import types
import typing as ty

import nova.conf
from nova import exception
from nova import objects
from oslo_log import log as logging

from nova_snap.model import observer as observer_module
from nova_snap.model import phase as phase_model

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

Phase = phase_model.Phase

# Which part of the whole each phase is, in percent: of the three copies of
# the disk each is a third, the upload somewhat more. What Ceph copies takes
# the place of the upload, which Nova was told of before it.
PHASES = {Phase.MIRROR: (0, 30), Phase.CONVERT: (30, 60),
          Phase.UPLOAD: (60, 100), Phase.FLATTEN: (60, 95),
          Phase.HASH: (95, 100)}
# Each write is one in Nova's database: a handful for each snapshot.
STEP_PERCENT = 20
# How often we look whether a step is done. A user does not ask more often.
LOOK_SECONDS = 2.0


class InstanceProgress:
    """Write how far the snapshot is into the instance, now and then.

    What is written with the task state costs nothing. In between, a thread
    of its own writes: the phases run where Nova's database cannot be called.
    Where Nova tells others of every change of an instance, it does not: the
    notifications stay those of a snapshot by Nova.
    """

    def __init__(self, context: ty.Any, instance: ty.Any) -> None:
        self._context = context
        self._instance = instance
        self._before = (instance.progress
                        if instance.obj_attr_is_set('progress') else None)
        self._percent = 0
        self._phase: Phase | None = None
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> 'InstanceProgress':
        self.note(0)
        # :source: nova/notifications/base.py send_update
        if not CONF.notifications.notify_on_state_change:
            self._thread = threading.Thread(
                target=self._write_now_and_then, name='snapshot-progress',
                daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 exc: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        # nova-compute saves it with the task state that it takes back.
        self.note(100 if exc is None else self._before)

    def begins(self, phase: Phase) -> None:
        """Take note of the phase; from any thread."""
        self._phase = phase

    def advances(self, done: int, total: int) -> None:
        """Take note of how far the phase is; from any thread."""
        if self._phase in PHASES and total:
            first, last = PHASES[self._phase]
            self._percent = first + (last - first) * min(done, total) // total

    def note(self, percent: int | None) -> None:
        """Let the next save of the instance carry the progress."""
        self._percent = percent or 0
        self._instance.progress = percent

    def _write_now_and_then(self) -> None:
        written = 0
        while not self._done.wait(LOOK_SECONDS):
            if self._percent - written >= STEP_PERCENT:
                written = self._percent
                self._write(written)

    def _write(self, percent: int) -> None:
        # An object of its own: saving the one of the request would write
        # whatever else is changed in it at this moment.
        try:
            instance = objects.Instance.get_by_uuid(self._context,
                                                    self._instance.uuid)
            instance.progress = percent
            instance.save()
        except exception.InstanceNotFound:
            LOG.debug('Instance %s is gone', self._instance.uuid)
        # Whatever the database says: no snapshot fails for its progress.
        except Exception as exc:  # noqa: BLE001
            LOG.warning('The progress of %s is not written: %s',
                        self._instance.uuid, exc)


class Watch(observer_module.Observer):
    """Shows a snapshot to Nova, and ends it when the service stops.

    :param check: raises Cancelled when the service stops
    :param before_upload: says to Nova that the upload begins, of an image in
        this format; what it raises ends the snapshot
    """

    def __init__(self, progress: InstanceProgress,
                 check: cabc.Callable[[], None],
                 before_upload: cabc.Callable[[str], None]) -> None:
        self._progress = progress
        self._check = check
        self._before_upload = before_upload

    def begins(self, phase: Phase) -> None:
        self._check()
        self._progress.begins(phase)

    def advances(self, done: int, total: int) -> None:
        self._check()
        self._progress.advances(done, total)

    def before_upload(self, image_formats: cabc.Sequence[str]) -> None:
        """Tell Nova, in the thread that Nova has called."""
        self._check()
        self._progress.note(PHASES[Phase.UPLOAD][0])
        (image_format,) = image_formats
        self._before_upload(image_format)

    def before_commit(self) -> None:
        self._check()

    def check(self) -> None:
        self._check()
