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

"""What a door wants to know of an operation, and where it may end it."""

import collections.abc as cabc

from nova_snap.model import phase as phase_model


class Observer:
    """One that looks on and says nothing; a door has its own.

    Each method may raise an error of ours: the operation then ends as after
    any other error, with the guest as it was. They may be called from any
    thread. After :meth:`before_commit` none is called.
    """

    def begins(self, phase: phase_model.Phase) -> None:
        """Take note that a phase begins."""

    def advances(self, done: int, total: int) -> None:
        """Take note of how far the phase is; bytes, 0 where not known."""

    def before_upload(self, image_formats: cabc.Sequence[str]) -> None:
        """Take note that the first byte is about to go to Glance.

        :param image_formats: of the images that have data, in their order
        """

    def before_commit(self) -> None:
        """Take note that from here on the images stay.

        It is the last moment to cancel.
        """

    def check(self) -> None:
        """Go on, or raise.

        :raises Cancelled: when the operation is to end
        """
