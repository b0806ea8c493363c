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

"""Where Cinder is, and as whom it is asked.

Unlike Nova's group [glance] this one has options to sign in with; see
credentials.py.
"""

from oslo_config import cfg

from nova_snap.conf import keystoneauth

GROUP = cfg.OptGroup('cinder',
                     title='Cinder Options',
                     help="""
Where the Block Storage service is, and as whom the snapshots of volumes are
asked for. The options have Nova's names and defaults.
""")

_OWN: list[cfg.Opt] = [
    cfg.StrOpt('catalog_info',
               default='volumev3::publicURL',
               regex=r'^[\w-]+:\w*:.*$',
               help="""
How Cinder is found in the service catalog.

Possible values:

* ``<service_type>:<service_name>:<endpoint_type>``, where the name may be
  left out

Related options:

* ``endpoint_template`` overrides it
"""),
    cfg.StrOpt('endpoint_template',
               help="""
The address of Cinder, instead of what the service catalog says.

Possible values:

* An address such as ``http://localhost:8776/v3/%(project_id)s``

Related options:

* ``catalog_info``
"""),
    cfg.StrOpt('os_region_name',
               help="""
The region whose Cinder is meant.

Possible values:

* A name of a region, as the service catalog has it.
"""),
    cfg.IntOpt('http_retries',
               default=3,
               min=0,
               help="""
How often a call to Cinder is tried again that got no answer.

The guest may stand frozen until then, but never for longer than
``[nova_snap]quiesce_limit``. A snapshot is never asked for twice: whether it
was made is looked up.

Possible values:

* The number of attempts after the first; 0 for none.
"""),
    cfg.BoolOpt('debug',
                default=False,
                help="""
Write each request to Cinder into the log, whatever else is written there.
"""),
]

# The options of the plugin that auth_type names follow in credentials.py.
OPTS = (_OWN
        + keystoneauth.session_opts()
        + keystoneauth.common_auth_opts())

SAMPLE_OPTS = (_OWN
               + keystoneauth.session_opts()
               + keystoneauth.sample_auth_opts())
