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

"""As whom the command signs in, and where it finds Glance and Cinder.

Three places are looked at, in this order: the OS_* variables (or the cloud
of clouds.yaml that OS_CLOUD names), the group [nova_snap], and the group
[service_user]. The first that says how to sign in is used, whole; Nova's
[glance] has no options for this and says where Glance is. Nova's [cinder] has
them: for Cinder it is looked at before [service_user].

Nothing is sent here: what is wrong with a password is found out at the first
request.
"""

import collections.abc
import dataclasses
import typing as ty

from keystoneauth1 import plugin as ks_plugin
from oslo_config import cfg

from nova_snap.conf import cinder
from nova_snap.conf import glance
from nova_snap.conf import nova_snap as own
from nova_snap.conf import places
from nova_snap.conf import service_user
from nova_snap import errors

# Options of a session that its constructor takes under the same name.
_PLAIN_SESSION_OPTS = ('timeout', 'collect_timing', 'split_loggers',
                       'tls_ciphers', 'tls_min_version')

# What [cinder]catalog_info has, between its colons.
_CATALOG_INFO = ('service_type', 'service_name', 'interface')

_NOTHING_CONFIGURED = (
    'nothing says as whom to sign in to Glance. Set the OS_* variables '
    '(source an openrc file, or name a cloud of clouds.yaml in OS_CLOUD; for '
    'a Glance without Keystone OS_AUTH_TYPE=none and OS_ENDPOINT), or '
    'auth_type and its options in [nova_snap] of nova.conf, or those in '
    '[service_user]')


@dataclasses.dataclass(frozen=True)
class Credentials:
    """How Glance, or Cinder, is reached.

    :ivar auth: a plugin of keystoneauth1
    :ivar session_options: keyword arguments of
        ``keystoneauth1.session.Session``, besides ``auth``
    :ivar adapter_options: keyword arguments of
        ``keystoneauth1.adapter.Adapter``. Options of [glance] that make the
        adapter retry are not among them: it would go on in the middle of an
        image that is being sent. For Glance ``endpoints`` as well, where
        nova.conf names several services. For Cinder, besides some of them,
        what ``nova_snap.services.cinder.volumes.Volumes`` takes
    :ivar source: where the credentials come from, as a phrase for messages
    """

    auth: ks_plugin.BaseAuthPlugin
    session_options: collections.abc.Mapping[str, ty.Any]
    adapter_options: collections.abc.Mapping[str, ty.Any]
    source: str


def load(conf: cfg.ConfigOpts, environ: places.Environ) -> Credentials:
    """Find out how to sign in.

    :param conf: with all options registered and the files parsed
    :param environ: the variables of the process
    :raises ConfigError: when no place says how, or one says it incompletely
    """
    found = (places.from_environ(environ)
             or places.from_group(conf, own.GROUP.name)
             or places.from_group(conf, service_user.GROUP.name))
    if found is None:
        raise errors.ConfigError(option='auth_type',
                                 reason=_NOTHING_CONFIGURED)
    adapter = {**_set_values(_adapter_of(conf)), **_set_values(found.adapter)}
    if (found.adapter.get('endpoint_override')
            or getattr(found.auth, 'endpoint', None)):
        # What is said together with the credentials is the one that counts.
        adapter.pop('endpoints', None)
    _check_endpoint(found, adapter)
    return Credentials(
        auth=found.auth,
        session_options=_session_options(
            {**_set_values(places.session_of(conf, glance.GROUP.name)),
             **_set_values(found.session)}),
        adapter_options=adapter,
        source=found.source)


def load_for_volumes(conf: cfg.ConfigOpts,
                     environ: places.Environ) -> Credentials:
    """Find out how to sign in to Cinder.

    :param conf: with all options registered and the files parsed
    :param environ: the variables of the process
    :raises ConfigError: when no place says how, or one says it incompletely
    """
    shared = (places.from_environ(environ)
              or places.from_group(conf, own.GROUP.name))
    cinders = None if shared else places.from_group(conf, cinder.GROUP.name)
    found = (shared or cinders
             or places.from_group(conf, service_user.GROUP.name))
    if found is None:
        raise errors.ConfigError(option='auth_type',
                                 reason=_NOTHING_CONFIGURED)
    group = conf[cinder.GROUP.name]
    adapter = {
        **dict(zip(_CATALOG_INFO, group.catalog_info.split(':', 2),
                   strict=True)),
        'region_name': group.os_region_name,
        # Which interface and region are the operator's is the same for both.
        **_set_values({name: found.adapter.get(name)
                       for name in ('interface', 'region_name')}),
        'endpoint_template': group.endpoint_template,
        'debug': group.debug}
    if hasattr(found.auth, 'endpoint') and found is not cinders:
        # There is no catalog, and the endpoint is Glance's.
        del adapter['service_type']
    return Credentials(
        auth=found.auth,
        session_options=_session_options(
            {**_set_values(places.session_of(conf, cinder.GROUP.name)),
             **_set_values(found.session)}),
        adapter_options=_set_values(adapter),
        source=found.source)


def _adapter_of(conf: cfg.ConfigOpts) -> dict[str, ty.Any]:
    group = conf[glance.GROUP.name]
    return {
        'service_type': group.service_type,
        'service_name': group.service_name,
        'interface': group.valid_interfaces,
        'region_name': group.region_name,
        'endpoint_override': group.endpoint_override,
        'endpoints': group.api_servers,
    }


def _set_values(values: dict[str, ty.Any]) -> dict[str, ty.Any]:
    """Leave out what was not set, so that another place may say it."""
    return {name: value for name, value in values.items() if value}


def _session_options(values: dict[str, ty.Any]) -> dict[str, ty.Any]:
    cert = values.get('certfile')
    if cert and values.get('keyfile'):
        cert = (cert, values['keyfile'])
    options = {
        'verify': (False if values.get('insecure')
                   else values.get('cafile') or True),
        'cert': cert,
    }
    for name in _PLAIN_SESSION_OPTS:
        if values.get(name):
            options[name] = values[name]
    return options


def _check_endpoint(found: places.Found, adapter: dict[str, ty.Any]) -> None:
    """Refuse a way to sign in that has no catalog and no endpoint."""
    has_catalog = not hasattr(found.auth, 'endpoint')
    endpoint = getattr(found.auth, 'endpoint', None)
    if not (has_catalog or endpoint or adapter.get('endpoint_override')
            or adapter.get('endpoints')):
        raise errors.ConfigError(
            option='endpoint',
            reason=f'{found.source} sign in without Keystone, so nothing '
                   'says where Glance is: set OS_ENDPOINT, '
                   '[nova_snap]endpoint or [glance]endpoint_override')
