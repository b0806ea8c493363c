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
it (shelve).
"""

import collections.abc as cabc
import typing as ty

import nova.conf
from nova.image import glance
from oslo_log import log as logging

from nova_snap.conf import credentials as credentials_module
from nova_snap import errors
from nova_snap.model import image as image_model
from nova_snap.model import settings as settings_model
from nova_snap.services.glance import images as images_module
from nova_snap.services import identity
from nova_snap.services import sign_in

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)


class RequestImages(images_module.Images):
    """Those of the user of one request."""

    def __init__(self, *args: ty.Any,
                 as_service: cabc.Callable[[], images_module.Images],
                 **facts: ty.Any) -> None:
        """Remember how Glance is reached.

        :param as_service: signs in with the credentials of nova.conf
        """
        super().__init__(*args, **facts)
        self._as_service = as_service

    def stores(self) -> list[image_model.Store] | None:
        """List the stores, as the service where the user must not see them.

        For this Glance does not look at the service's token that is sent
        along with the user's.

        :source: glance/policies/discovery.py stores_info_detail
        """
        found = super().stores()
        if found is not None:
            return found
        try:
            return self._as_service().stores()
        except errors.SnapError as exc:
            # Without them a pool that is named is taken as it is.
            LOG.info('Glance is not asked for its stores as a service: %s',
                     exc)
            return None


def request_images(context: ty.Any, settings: settings_model.Settings) -> (
        images_module.Images):
    """Sign in to Glance as the user of a request.

    The user's token goes with the service's where [service_user] says so:
    with it Glance takes a token that runs out on the way.

    :source: nova/image/glance.py _glanceclient_from_endpoint
    """
    session, auth = glance._session_and_auth(context)
    options = {'auth': auth, 'global_request_id': context.global_id}
    if CONF.glance.api_servers:
        options['endpoints'] = CONF.glance.api_servers
    else:
        options['endpoint_override'] = glance.generate_glance_url(context)
    return RequestImages(
        session, options,
        as_service=lambda: sign_in.images(
            lambda: credentials_module.load(CONF, {}), settings),
        policy=sign_in.images_policy(settings),
        us=identity.Identity(context.project_id, frozenset(context.roles)))
