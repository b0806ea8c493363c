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

"""The one workaround of Nova that a snapshot obeys."""

from oslo_config import cfg

GROUP = cfg.OptGroup('workarounds',
                     title='Workaround Options',
                     help="""
Workarounds for bugs in the tools that Nova uses, for exceptional
circumstances. They have Nova's names and defaults.
""")

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt('disable_libvirt_livesnapshot',
                default=False,
                deprecated_for_removal=True,
                deprecated_since='19.0.0',
                deprecated_reason="""
Nova deprecates this option: it was made for libvirt 1.2.2, where live
snapshots failed under load, and Nova no longer supports that version.
""",
                help="""
Take every guest down for its snapshot.

When it is true, no snapshot is taken live: a running guest is saved to disk,
copied and started again, and does not answer in the meantime. For the bug
behind it see https://bugs.launchpad.net/nova/+bug/1334398.

Possible values:

* True: all snapshots are cold
* False: a guest that can be snapshotted live is
"""),
]
