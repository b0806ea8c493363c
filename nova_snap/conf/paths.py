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

"""Where Nova keeps its state: the same options, the same defaults."""

import os

from oslo_config import cfg

# Nova's own default: the directory that holds the Python packages. It comes
# out the same when both packages are installed side by side.
_BASE_DIR = os.path.abspath(
    os.path.join(os.path.dirname(__file__), '../../'))

# [DEFAULT]
GROUP = None

OPTS: list[cfg.Opt] = [
    cfg.StrOpt('pybasedir',
               default=_BASE_DIR,
               sample_default='<Path>',
               help="""
The directory where the Python modules are installed.

Nothing happens to a guest when this changes, except that everything which
lies below ``state_path`` is then looked for elsewhere. There is normally no
reason to set it.

Possible values:

* The full path of a directory.

Related options:

* ``state_path``
"""),
    cfg.StrOpt('state_path',
               default='$pybasedir',
               help="""
The top-level directory of Nova's state on this host.

The disks of the guests and our own journal lie below it, unless
``instances_path`` and ``[nova_snap]journal_dir`` say otherwise. It has to be
the value that nova-compute uses on this host. All files that the nova-snap
command writes get the owner of this directory.

Possible values:

* The full path of a directory. The default is ``pybasedir``; packages of
  Nova usually set ``/var/lib/nova``.

Related options:

* ``instances_path``
* ``[nova_snap]journal_dir``
"""),
]
