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

"""How Glance and Cinder are made of credentials and settings.

Where credentials are looked for is the doors' business. Nothing is sent
here: what is wrong with a password shows at the first request.
"""

import collections.abc as cabc
import typing as ty

from keystoneauth1 import plugin as ksa_plugin

from nova_snap import errors
from nova_snap.model import settings as settings_model
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.services.glance import images as images_module
from nova_snap.services import sessions
from nova_snap.services import signed_out


class Credentials(ty.Protocol):
    """As whom to sign in, and where the service is."""

    @property
    def auth(self) -> ksa_plugin.BaseAuthPlugin:
        """What signs in."""

    @property
    def session_options(self) -> cabc.Mapping[str, ty.Any]:
        """Keyword arguments of keystoneauth1's Session, besides ``auth``."""

    @property
    def adapter_options(self) -> cabc.Mapping[str, ty.Any]:
        """What Images, or Volumes, take as their options."""


# Finds credentials, or raises ConfigError where nothing says how to sign in.
Find: ty.TypeAlias = cabc.Callable[[], Credentials]


def images(find: Find, settings: settings_model.Settings, *,
           required: bool = False) -> images_module.Images:
    """Return Glance; without credentials each of its calls says why.

    :param required: there must be credentials
    :raises ConfigError: when they must be there and are not
    """
    try:
        found = find()
    except errors.ConfigError as exc:
        if required:
            raise
        return signed_out.SignedOut(exc)
    return images_module.Images(
        sessions.make_session(found.auth, found.session_options),
        found.adapter_options, policy=images_policy(settings))


def images_policy(settings: settings_model.Settings) -> sessions.Policy:
    """Return how much trouble Glance is worth to the operator."""
    return sessions.Policy(num_retries=settings.glance_num_retries,
                           verify=settings.verify_upload)


def volumes(find: Find, settings: settings_model.Settings
            ) -> volumes_module.Volumes:
    """Return Cinder; without credentials each of its calls says why."""
    try:
        found = find()
    except errors.ConfigError as exc:
        return signed_out.SignedOutOfCinder(exc)
    return volumes_module.Volumes(
        sessions.make_session(found.auth, found.session_options),
        found.adapter_options, policy=sessions.Policy(
            num_retries=settings.cinder_http_retries))
