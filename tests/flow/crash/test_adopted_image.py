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

"""Nova's door, hit everywhere: the record of the image is Nova's.

While our process lives Nova deletes the image of a snapshot that failed, and
we must not: Nova keeps that of a shelved instance. A dead process can send
nothing any more, and recovery deletes an image whose data never became whole.
"""

import dataclasses

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.model import image as image_model
from nova_snap.model import observer as observer_module
from nova_snap.model import request as request_model
from nova_snap.steps import image as image_step
from tests.fakes.glance import record as image_record
from tests.flow import checks
from tests.flow.crash import points
from tests.flow import scene as flow_scene

RECORD = image_model.ImageSpec(
    image_id=flow_scene.IMAGE, name='nightly', disk_format='qcow2',
    container_format='bare', min_disk=1, min_ram=0, owner=None,
    visibility='private', properties={})

# Calls to Glance that take an image away.
DELETES = {'delete', 'discard_unfinished'}


@dataclasses.dataclass
class AdoptedRun(points.Run):
    """A run whose image was there before it.

    :ivar is_adopted: the journal says that the image is ours to delete;
        before it does no later process of ours knows of the image
    """

    def __post_init__(self):
        self.is_adopted = any(
            entry.kind == image_step.AdoptImage.__name__
            for record in self.fake.process().store.read_all()
            for entry in record.entries)

    def may_keep(self):
        """Tell whether the image stays: it does once its data is whole."""
        (stored,) = self.fake.glance.stored.values()
        return stored.status == 'active' or not self.is_adopted

    def recover(self):
        """Settle as nova-compute does: when it starts, and later the rest.

        :raises AssertionError: when the start waits for Glance, or leaves
            something of the guest to later
        """
        starts, deletes = self.fake.process(), self.fake.process()
        recovery.recover(starts.node, artifacts=False)
        assert 'glance' not in {call.outside for call in starts.calls.made}
        assert not checks.touched(self.fake, self.before)
        return recovery.recover(deletes.node)

    def wrong(self):
        """Say what must not be so at the end."""
        wrong = super().wrong()
        if self.process.calls.is_dead and not self.is_adopted:
            wrong = [one for one in wrong if one != 'an image stays queued']
        deletes = self.process.calls.names() & DELETES
        return wrong + [f'it made the call {name}'
                        for name in sorted(deletes)]


class StopsAt(observer_module.Observer):
    """Ends the operation when it is asked for the n-th time.

    :ivar asked: how often the operation has asked
    """

    def __init__(self, number=None):
        self.asked = 0
        self._number = number

    def _look(self, *args):
        self.asked += 1
        if self.asked - 1 == self._number:
            raise errors.Cancelled(reason='the service stops')

    begins = advances = before_upload = before_commit = check = _look


class Adopted(points.KillTests, points.FailTests):
    """The flows of a node with Nova, where the image is there before."""

    asked = {'made_by': request_model.Party.NOVA}
    run_type = AdoptedRun

    def prepare(self, fake):
        super().prepare(fake)
        fake.glance.create(image_record.of_spec(RECORD))

    def caller_acts(self, run):
        """Delete the image of a snapshot that failed, as Nova does.

        :source: nova/compute/manager.py delete_image_on_error
        """
        if not run.has_succeeded():
            del run.fake.glance.stored[flow_scene.IMAGE]

    def test_stopped_by_the_service_anywhere_it_is_put_back(self) -> None:
        counts = StopsAt()
        self.hit(observer=counts)
        self.assertGreater(counts.asked, 0)
        problems = []
        for number in range(counts.asked):
            run = self.hit(observer=StopsAt(number))
            wrong = run.wrong()
            if not isinstance(run.ended, errors.Cancelled):
                wrong.append(f'{run.ended!r}')
            problems += [f'when asked for the {number}th time: {what}'
                         for what in wrong]
        self.judge(problems)


class LiveTestCase(Adopted, flow_scene.FlowTestCase):

    asked = {**Adopted.asked, 'quiesce': 'require'}


class ColdTestCase(Adopted, flow_scene.FlowTestCase):

    asked = {**Adopted.asked, 'cold': True}


class StoppedTestCase(Adopted, flow_scene.FlowTestCase):

    def prepare(self, fake):
        super().prepare(fake)
        fake.guest.destroy()
