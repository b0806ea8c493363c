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

"""Glance, with the credentials of one request to Nova.

The record of the image was made by nova-api, which also wrote what the
instance inherited; nova-compute deletes it when the snapshot fails, or keeps
it (shelve). So here it is neither made nor deleted.
"""

import collections.abc as cabc
import typing as ty

from nova.compute import utils as compute_utils
from nova.image import glance

from nova_snap.driver import natively
from nova_snap.model import image as image_model
from nova_snap.model import settings as settings_model
from nova_snap.model import stream
from nova_snap.services.glance import images as images_module
from nova_snap.services import sign_in


class RequestImages(images_module.Images):
    """Glance for one snapshot that Nova asked for.

    :param before_upload: called once before the data is sent; what it raises
        ends the snapshot
    """

    def __init__(self, context: ty.Any, settings: settings_model.Settings,
                 before_upload: cabc.Callable[[], None]) -> None:
        # The user's token, and the service's beside it where [service_user]
        # says so: with it Glance takes a token that runs out meanwhile.
        # :source: nova/image/glance.py _glanceclient_from_endpoint
        session, auth = glance._session_and_auth(context)
        super().__init__(
            session, {'auth': auth,
                      'endpoint_override': glance.generate_glance_url(
                          context),
                      'global_request_id': context.global_id},
            policy=sign_in.images_policy(settings))
        self._before_upload = before_upload

    def upload(self, image_id: str, source: stream.Source, *,
               progress: stream.Progress | None = None) -> image_model.Image:
        """Tell Nova, wait for a turn at the disk, and send the data."""
        self._before_upload()
        with compute_utils.disk_ops_semaphore:
            return natively.call(super().upload, image_id, source,
                                 progress=progress)

    def discard_unfinished(self, image_id: str) -> None:
        """Do nothing: nova-compute knows what to do with the image."""
