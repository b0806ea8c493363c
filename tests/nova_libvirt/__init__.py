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

"""Our driver's own runtime, on Nova's connection to the lab's libvirt.

tools/test runs these in its stage nova-libvirt: in a release of Nova with
native threads, and in one with eventlet's.
"""

# Says which kind of threads Nova uses, before anything of Nova is imported.
import tests.with_nova  # noqa: F401
