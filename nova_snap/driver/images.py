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

import typing as ty

import nova.conf
from nova.image import glance

from nova_snap.model import settings as settings_model
from nova_snap.services.glance import images as images_module
from nova_snap.services import identity
from nova_snap.services import sign_in

CONF = nova.conf.CONF


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
    return images_module.Images(
        session, options,
        policy=sign_in.images_policy(settings),
        us=identity.Identity(context.project_id, frozenset(context.roles)))
