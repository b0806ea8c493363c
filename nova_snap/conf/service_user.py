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

"""The service user of Nova: the last place where credentials are looked for.
"""

from oslo_config import cfg

from nova_snap.conf import keystoneauth

GROUP = cfg.OptGroup('service_user',
                     title='Service token authentication type options',
                     help="""
The user as which Nova calls other services. The nova-snap command signs in as
this user when there are no OS_* variables and no options to sign in with in
the group nova_snap. The options have Nova's names and defaults.
""")

_OWN: list[cfg.Opt] = [
    cfg.BoolOpt('send_service_user_token',
                default=False,
                help="""
Nova sends a service token along with the user's token.

The guest is not affected, and neither is the nova-snap command, which has no
user's token to send: the option is here because it belongs to the group.
"""),
]

# The options of the plugin that auth_type names follow in credentials.py.
OPTS = (_OWN
        + keystoneauth.session_opts()
        + keystoneauth.common_auth_opts())

SAMPLE_OPTS = (_OWN
               + keystoneauth.session_opts()
               + keystoneauth.sample_auth_opts())
