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

import threading

import nova.conf
from oslo_log import log as logging

from nova_snap.conf import credentials as credentials_module
from nova_snap.driver import runtime as runtime_module
from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.services import sign_in

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

# How often it is tried again to settle what could not be: as often as
# nova-compute reports the resources of its host.
INTERVAL_SECONDS = 60


class Recovery:
    """Settles records, for as long as nova-compute runs."""

    def __init__(self, runtime: runtime_module.Runtime) -> None:
        self._runtime = runtime
        self._stopped = threading.Event()
        self._said: set[str] = set()

    def at_start(self) -> None:
        """Put the guests back; Glance is not asked: it may be down.

        No error of a record keeps nova-compute from starting.
        """
        try:
            self._log(recovery.recover(self._runtime.local_node(),
                                       artifacts=False))
        except errors.SnapError as exc:
            LOG.error('What earlier snapshots left is not settled: %s', exc)
        threading.Thread(target=self._now_and_then,
                         name='nova_snap-recovery', daemon=True).start()

    def stop(self) -> None:
        """Settle nothing any more: the service ends."""
        self._stopped.set()

    def _now_and_then(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            # Whatever it is: the next time it may be better.
            try:
                self.images_too()
            except Exception:
                LOG.exception('What earlier snapshots left is not settled')

    def images_too(self) -> None:
        """Settle what is left, with the credentials of the service.

        An image is deleted only while its data is not whole. The snapshots
        of volumes that are deleted were left by the nova-snap command.
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
