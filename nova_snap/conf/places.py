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

"""The places that may say how to sign in, each read whole."""

import collections.abc
import contextlib
import dataclasses
import typing as ty

from keystoneauth1 import exceptions as ks_exceptions
from keystoneauth1 import loading as ks_loading
from keystoneauth1 import plugin as ks_plugin
from oslo_config import cfg
from oslo_config import types as cfg_types

from nova_snap.conf import glance
from nova_snap.conf import keystoneauth
from nova_snap import errors

Environ = collections.abc.Mapping[str, str]

# One of these says that the variables are meant: what else begins with OS_
# is often set by something that has nothing to do with OpenStack.
_TRIGGERS = ('OS_AUTH_TYPE', 'OS_AUTH_PLUGIN', 'OS_AUTH_URL')

# What keystoneauth1's own commands sign in with when nothing else is said.
_DEFAULT_AUTH_TYPE = 'password'


@dataclasses.dataclass(frozen=True)
class Found:
    """What one place says; session and adapter by their option's name."""

    auth: ks_plugin.BaseAuthPlugin
    source: str
    session: dict[str, ty.Any]
    adapter: dict[str, ty.Any]


def from_environ(environ: Environ) -> Found | None:
    """Read the OS_* variables, or the cloud that OS_CLOUD names.

    :returns: None where they are not set
    :raises ConfigError: when they, or clouds.yaml, cannot be used
    """
    if environ.get('OS_CLOUD'):
        return _from_cloud(environ)
    if not any(environ.get(name) for name in _TRIGGERS):
        return None
    auth_type = (environ.get('OS_AUTH_TYPE') or environ.get('OS_AUTH_PLUGIN')
                 or _DEFAULT_AUTH_TYPE)

    def value(opt: ks_loading.Opt) -> ty.Any:
        named = (environ.get(_variable(one.name))
                 for one in (opt, *opt.deprecated))
        return next((text for text in named if text), opt.default)

    with _translated('OS_AUTH_TYPE'):
        loader: ks_loading.BaseLoader[ks_plugin.BaseAuthPlugin] = (
            ks_loading.get_plugin_loader(auth_type))
        auth = loader.load_from_options_getter(value)
    interface = (environ.get('OS_INTERFACE')
                 or environ.get('OS_ENDPOINT_TYPE'))
    return Found(
        auth=auth,
        source='the OS_* variables',
        session={
            'cafile': environ.get('OS_CACERT'),
            'certfile': environ.get('OS_CERT'),
            'keyfile': environ.get('OS_KEY'),
            'insecure': _as_bool('OS_INSECURE', environ),
        },
        adapter={
            # Older openrc files say internalURL.
            'interface': interface and [interface.removesuffix('URL')],
            'region_name': environ.get('OS_REGION_NAME'),
            # With a plugin that does not take it, OS_ENDPOINT is Keystone's.
            'endpoint_override': getattr(auth, 'endpoint', None),
        })


def _variable(option: str) -> str:
    return f'OS_{option}'.replace('-', '_').upper()


def _as_bool(name: str, environ: Environ) -> bool:
    try:
        return bool(cfg_types.Boolean()(environ.get(name) or False))
    except ValueError as exc:
        raise errors.ConfigError(option=name, reason=str(exc)) from exc


def _from_cloud(environ: Environ) -> Found:
    region, auth = _read_cloud(environ)
    verify, cert = region.get_requests_verify_args()
    interface = region.get_interface(glance.SERVICE_TYPE)
    certfile, keyfile = (cert if isinstance(cert, tuple) else (cert, None))
    return Found(
        auth=auth,
        source=f'cloud {environ["OS_CLOUD"]} of clouds.yaml',
        session={
            'cafile': verify if isinstance(verify, str) else None,
            'certfile': certfile,
            'keyfile': keyfile,
            'insecure': verify is False,
            'timeout': region.config.get('api_timeout'),
        },
        adapter={
            'interface': interface and [interface],
            'region_name': region.get_region_name(glance.SERVICE_TYPE),
            'endpoint_override': region.get_endpoint(glance.SERVICE_TYPE),
        })


def _read_cloud(
        environ: Environ) -> tuple[ty.Any, ks_plugin.BaseAuthPlugin]:
    """Read clouds.yaml; return openstacksdk's region, and what signs in."""
    name = environ['OS_CLOUD']
    try:
        from openstack import config as sdk_config
        from openstack import exceptions as sdk_exceptions
        import yaml
    except ImportError as exc:
        raise errors.ConfigError(
            option='OS_CLOUD',
            reason='to read clouds.yaml the package openstacksdk is needed: '
                   'install nova-snap[clouds], or unset OS_CLOUD and set the '
                   'other OS_* variables') from exc
    files = environ.get('OS_CLIENT_CONFIG_FILE')
    # openstacksdk takes what it reads for what it expects, and its releases
    # for Python 3.10 for YAML.
    with _translated('OS_CLOUD', sdk_exceptions.SDKException,
                     AttributeError, TypeError, yaml.YAMLError):
        region = sdk_config.OpenStackConfig(
            config_files=([files] if files else None),
            load_envvars=False).get_one(cloud=name)
        auth = region.get_auth()
    if auth is None:
        raise errors.ConfigError(
            option='OS_CLOUD',
            reason=f'cloud {name} of clouds.yaml has no usable auth_type')
    return region, auth


def from_group(conf: cfg.ConfigOpts, group: str) -> Found | None:
    """Read the options of a group of nova.conf.

    :returns: None where its ``auth_type`` is not set
    :raises ConfigError: when one of them cannot be used
    """
    # When the options were registered the files were not yet parsed, and
    # auth_section was unknown: here the group that it names is registered.
    with _translated(f'[{group}]auth_type'):
        ks_loading.register_auth_conf_options(conf, group)
        auth = ks_loading.load_auth_from_conf_options(conf, group)
    if auth is None:
        return None
    return Found(auth=auth,
                  source=f'the options of [{group}]',
                  session=session_of(conf, group),
                  adapter={})


def session_of(conf: cfg.ConfigOpts, group: str) -> dict[str, ty.Any]:
    """Return what a group says of its sessions; what is not set is None."""
    return {opt.dest: conf[group][opt.dest]
            for opt in keystoneauth.session_opts()}


_FOREIGN = (ks_exceptions.ClientException, cfg.Error, ValueError)


@contextlib.contextmanager
def _translated(option: str,
                *more: type[Exception]) -> collections.abc.Iterator[None]:
    foreign: tuple[type[Exception], ...] = (*_FOREIGN, *more)
    try:
        yield
    except foreign as exc:
        raise errors.ConfigError(option=option, reason=str(exc)) from exc
