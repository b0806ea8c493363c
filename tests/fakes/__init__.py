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

"""The world outside, with a life of its own, for tests without one.

::

    FakeNode                     one compute node; outlives its processes
    |-- libvirtd: FakeLibvirtd   what libvirt knows
    |   `-- guest: FakeDomain    writes as long as it can
    |-- glance: FakeGlance       what Glance has
    |-- cinder: FakeCinder       what Cinder has
    |-- clock: FakeClock
    `-- process()                one run of ours, made of the real
        |-- world: World         flows, steps, journal and hypervisor
        `-- calls: Calls         over fakes that share these calls

Every call to the outside goes through :class:`calls.Calls`: it is written
down, and may be made to fail, or to be the last one of its process.

The fakes refuse what the real services refuse: the tests in tests/contract
run on both.
"""
