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

"""The options that keystoneauth1 brings, chosen as Nova chooses them.

The values are read in credentials.py; here they are only named.
"""

import collections.abc

from keystoneauth1 import loading as ks_loading
from oslo_config import cfg

Deprecated = dict[str, list[cfg.DeprecatedOpt]]

# Which versions of an API are wanted is known to the code, not to the
# operator. Nova takes these three away too.
_VERSION_OPTS = ('version', 'min_version', 'max_version')

# The ways to sign in whose options go into the sample file. Any other plugin
# of keystoneauth1 can be named in auth_type all the same.
_SAMPLE_PLUGINS = ('password', 'v3password', 'v3applicationcredential')


def adapter_opts(service_type: str,
                 deprecated: Deprecated | None = None) -> list[cfg.Opt]:
    """List the options that say where a service is found.

    :param service_type: the default of the option service_type
    """
    opts = [opt for opt in ks_loading.get_adapter_conf_options(
                include_deprecated=False, deprecated_opts=deprecated)
            if opt.dest not in _VERSION_OPTS]
    cfg.set_defaults(opts,
                     valid_interfaces=['internal', 'public'],
                     service_type=service_type)
    return opts


def session_opts(deprecated: Deprecated | None = None) -> list[cfg.Opt]:
    """List the options of an HTTP session: TLS and timeouts."""
    return ks_loading.get_session_conf_options(deprecated_opts=deprecated)


def common_auth_opts() -> list[cfg.Opt]:
    """List what is registered for every way to sign in."""
    return ks_loading.get_auth_common_conf_options()


def sample_auth_opts(
        more: collections.abc.Iterable[str] = ()) -> list[cfg.Opt]:
    """List the options to sign in, for a sample file.

    They are registered when the plugin is known, by credentials.py.

    :param more: names of plugins besides the usual ones
    """
    opts = {opt.dest: opt for opt in common_auth_opts()}
    for plugin in (*_SAMPLE_PLUGINS, *more):
        for opt in ks_loading.get_auth_plugin_conf_options(plugin):
            opts.setdefault(opt.dest, opt)
    return list(opts.values())
