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

"""Where Glance is, and how often it is tried.

Nova's group [glance] has no options to sign in with; see credentials.py.
"""

from oslo_config import cfg

from nova_snap.conf import keystoneauth

SERVICE_TYPE = 'image'

GROUP = cfg.OptGroup('glance',
                     title='Glance Options',
                     help="""
Where the Image service is. The options have Nova's names and defaults.
""")

_OWN: list[cfg.Opt] = [
    cfg.ListOpt('api_servers',
                deprecated_for_removal=True,
                deprecated_since='21.0.0',
                help="""
The addresses of several Glance services that share one database.

Nova and nova_snap ask them in an order of their own, and the next one after
one that does not answer. Name a load balancer in ``endpoint_override``
instead where there is one.

Possible values:

* Addresses with commas between them, each beginning with ``http://`` or
  ``https://``. Where this is empty, ``endpoint_override`` or the catalog says
  where Glance is.
"""),
    cfg.IntOpt('num_retries',
               default=3,
               min=0,
               help="""
How often an upload or another call to Glance is tried again.

The guest is not affected: it runs on as before when an upload begins. Each
attempt sends the image from its first byte.

Possible values:

* The number of attempts after the first; 0 for none.
"""),
]

_DEPRECATED = {
    'insecure': [cfg.DeprecatedOpt('api_insecure', group='glance')],
    'cafile': [cfg.DeprecatedOpt('ca_file', group='ssl')],
    'certfile': [cfg.DeprecatedOpt('cert_file', group='ssl')],
    'keyfile': [cfg.DeprecatedOpt('key_file', group='ssl')],
}

OPTS = (_OWN
        + keystoneauth.session_opts(_DEPRECATED)
        + keystoneauth.adapter_opts(SERVICE_TYPE, _DEPRECATED))
