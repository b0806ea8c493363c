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


"""Guests that are ill from their boot: an agent, or the disk below them."""

#: how an agent is that does not do what it was asked; see the guest's init
AGENTS = ('absent', 'hung', 'refuses', 'mumbles', 'lies', 'hangs-in-freeze',
          'hangs-in-thaw')
#: those with which a guest is frozen, or seems so
FREEZING = ('lies', 'hangs-in-thaw')
#: those that answer, after a while
ANSWERING = ('refuses', 'hangs-in-freeze', 'hangs-in-thaw')
# Seconds in which an agent comes back that hangs.
HANG_TIMEOUT = 60
