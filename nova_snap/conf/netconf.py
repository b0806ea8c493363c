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

"""The name and the address under which this host is known to Nova."""

import socket

from oslo_config import cfg
from oslo_utils import netutils

# [DEFAULT]
GROUP = None

OPTS: list[cfg.Opt] = [
    cfg.StrOpt('my_ip',
               default=netutils.get_my_ipv4(),
               sample_default='<host_ipv4>',
               help="""
The address of this host in the network of the operators.

The guest is not affected. Other options may refer to it as ``$my_ip``.

Possible values:

* An IP address. The default is the IPv4 address of this host.
"""),
    cfg.HostDomainOpt('host',
                      default=socket.gethostname(),
                      sample_default='<current_hostname>',
                      help="""
The name of this host, as nova-compute has it.

It is written into each record of the journal and into each directory of a
snapshot. What another host wrote is reported and never touched, so a guest
whose mirror is running there is safe; when the name of a host changes while
a record is open, that record is no longer settled by itself.

Possible values:

* A host name, a fully qualified domain name or an IP address. The default
  is the host name of this machine.
"""),
]
