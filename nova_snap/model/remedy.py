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

"""Commands that an error or a warning tells its reader to run.

Each is whole, with the names of this guest: it can be copied into a shell.
"""

import shlex


def command(*words: str) -> str:
    """Write a command as a shell takes it, and as a message quotes it."""
    return f'"{shlex.join(words)}"'


def image_of_server(uuid: str) -> str:
    """Return the command by which Nova takes the snapshot itself."""
    return command('openstack', 'server', 'image', 'create', uuid)
