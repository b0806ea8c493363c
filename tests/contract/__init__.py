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

"""What the product needs of each service, stated once, as tests.

There is no test module here. A mixin states a contract; the fake side
inherits it in the stage ``flow``, the real side in ``functional`` or
``volumes``. Each side brings a ``Side``, by which a test acts on what it
tests. Where the two sides differ, the fake is wrong.
"""
