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

"""What a dead nova-compute left: guests at the start, images later."""

import collections.abc as cabc
import threading

import nova.conf
from oslo_log import log as logging

from nova_snap.conf import credentials as credentials_module
from nova_snap.driver import runtime as runtime_module
from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.services import sign_in
from nova_snap.steps import world as world_module

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

# How often it is tried again to settle what could not be: as often as
# nova-compute reports the resources of its host.
INTERVAL_SECONDS = 60
# How long the start of nova-compute waits for the guests. Most are back by
# then. Nova takes a service for dead that has not reported for
# service_down_time, 60 s by default, and has a start of its own to do.
START_SECONDS = 5.0


class Recovery:
    """Settles records, for as long as nova-compute runs."""

    def __init__(self, runtime: runtime_module.Runtime) -> None:
        self._runtime = runtime
        self._stopped = threading.Event()
        # Unset only from the start until every guest to put back is known.
        self._looked = threading.Event()
        self._looked.set()
        self._tried = threading.Event()
        self._said: set[str] = set()
        # Of each guest that is being put back since the start, by its UUID.
        self._guests: dict[str, threading.Thread] = {}

    def at_start(self) -> None:
        """Put the guests back; Glance is not asked: it may be down.

        No record keeps nova-compute from starting: what takes longer, such as
        the thaw of a guest whose agent does not answer, goes on after this.
        """
        self._looked.clear()
        threading.Thread(target=self._run, name='nova_snap-recovery',
                         daemon=True).start()
        if not self._tried.wait(START_SECONDS):
            LOG.warning('What earlier snapshots left is not settled within '
                        '%d s. It goes on while nova-compute runs',
                        START_SECONDS)

    def stop(self) -> None:
        """Settle nothing any more: the service ends."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            self.guests()
        except errors.SnapError as exc:
            LOG.error('What earlier snapshots left is not settled: %s', exc)
        finally:
            self._looked.set()
            self._tried.set()
        self._now_and_then()

    def guests(self) -> None:
        """Put every guest back, all at the same time, the urgent ones first.

        One that does not answer holds up no other. There are no more of them
        than nova-compute takes snapshots at the same time.
        """
        node = self._runtime.local_node()
        threads = []
        for finding in recovery.look(node):
            thread = threading.Thread(target=self._guest,
                                      args=(node, finding),
                                      name='nova_snap-guest', daemon=True)
            threads.append(thread)
            if finding.record is not None:
                self._guests[finding.record.instance_uuid] = thread
            thread.start()
        self._looked.set()
        for thread in threads:
            thread.join()

    def after(self, uuid: str, call: cabc.Callable[[], object]) -> None:
        """Call when the guest of one instance is back, or cannot be now.

        At once where nothing of it was left. Else this returns, and the call
        is made later: nova-compute is still starting, and the memory of a
        guest may take minutes to be read.
        """
        if self._looked.is_set() and not self._is_being_put_back(uuid):
            call()
            return
        LOG.info('The guest of instance %s is being put back; it is resumed '
                 'after that', uuid)
        threading.Thread(target=self._call_after, args=(uuid, call),
                         name='nova_snap-resume', daemon=True).start()

    def _is_being_put_back(self, uuid: str) -> bool:
        thread = self._guests.get(uuid)
        return thread is not None and thread.is_alive()

    def _call_after(self, uuid: str, call: cabc.Callable[[], object]) -> None:
        # A guest that never comes back must not stay Nova's to wait for.
        patience = self._runtime.settings.save_timeout
        self._looked.wait(patience)
        if self._is_being_put_back(uuid):
            self._guests[uuid].join(patience)
        # Whatever it is: no caller is left to hear of it.
        try:
            call()
        except Exception:
            LOG.exception('The guest of instance %s is not resumed: start '
                          'it with "openstack server start %s"', uuid, uuid)

    def _guest(self, node: world_module.Node,
               finding: recovery.Finding) -> None:
        # Whatever it is: the others go on, and it is tried again.
        try:
            self._log([recovery.settle(node, finding, artifacts=False)])
        except Exception:
            LOG.exception('Record %s is not settled', _name(finding))

    def _now_and_then(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            # Whatever it is: the next time it may be better.
            try:
                self.images_too()
            except Exception:
                LOG.exception('What earlier snapshots left is not settled')

    def images_too(self) -> None:
        """Settle what is left, with the credentials of the service.

        An image is deleted only while its data is not whole, or where it is
        known to have other bytes than it should have. The snapshots of
        volumes that are deleted were left by the nova-snap command.
        """
        if any(self._runtime.store.ids()):
            settings = self._runtime.settings
            self._log(recovery.recover(self._runtime.node(
                sign_in.images(
                    lambda: credentials_module.load(CONF, {}), settings),
                volumes=sign_in.volumes(
                    lambda: credentials_module.load_for_volumes(CONF, {}),
                    settings))))

    def _log(self, findings: list[recovery.Finding]) -> None:
        """Write one line for each record that is not at work.

        Of one that was settled the flow has written it. One that is not ours
        to settle stays as it is: it is written once.
        """
        for finding in findings:
            if finding.outcome == recovery.Outcome.FAILED:
                LOG.error('Record %s: %s, %s. It is tried again every %d s',
                          _name(finding), finding.outcome, finding.reason,
                          INTERVAL_SECONDS)
            elif finding.outcome == recovery.Outcome.LEFT:
                LOG.info('Record %s: %s, %s', _name(finding),
                         finding.outcome, finding.reason)
            elif (finding.outcome == recovery.Outcome.FOREIGN
                    and finding.reason not in self._said):
                self._said.add(finding.reason)
                LOG.error('Record %s: %s, %s. Its guest may be stopped, '
                          'frozen or undefined: look at it, then remove the '
                          'record', _name(finding), finding.outcome,
                          finding.reason)


def _name(finding: recovery.Finding) -> str:
    record = finding.record
    if record is None:
        return 'without a name'
    return f'{record.id} of {record.instance_name}'
