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

"""The tests of Nova's that fail with our class, and why.

Each looks at Nova's own snapshot from inside: what it patches is not called
by ours. Next to that stands the test of ours that covers the behaviour.
"""

_CLASS = 'nova.tests.unit.virt.libvirt.test_driver.'
_CONNECTION = _CLASS + 'LibvirtConnTestCase.'
_SNAPSHOT = _CLASS + 'LibvirtSnapshotTests.'

# They call _live_snapshot itself, which asks the guest's agent by quiesce().
_LIVE = 'LibvirtDriver._live_snapshot'
# They patch what finds the disk; ours reads it from the XML of the domain,
# which they have none of.
_FINDS = 'nova.virt.libvirt.utils.find_disk'

TESTS: dict[str, tuple[str, str]] = {
    _CONNECTION + 'test_live_snapshot': (
        _LIVE, 'tests.flow.test_live.OrderTestCase'
               '.test_guest_that_is_not_frozen'),
    _CONNECTION + 'test_live_snapshot_with_quiesce': (
        _LIVE, 'tests.flow.test_live.OrderTestCase.test_frozen_guest'),
    _CONNECTION + 'test_live_snapshot_with_require_quiesce': (
        _LIVE, 'tests.flow.test_frozen.AskedForTestCase'
               '.test_image_requires_it'),
    _CONNECTION + 'test_quiesce': (
        'FakeVirtDomain, which has no state()',
        'tests.flow.test_frozen_by_nova.AskedTestCase'
        '.test_frozen_until_it_is_asked'),
    _CONNECTION + 'test_unquiesce': (
        'a thaw of a guest that is not frozen',
        'tests.flow.test_frozen_by_nova.AskedTestCase.test_never_frozen'),
    _SNAPSHOT + 'test_failing_domain_not_found': (
        _FINDS, 'tests.flow.crash.test_other_client.DeletedTestCase'
                '.test_it_is_deleted_in_between'),
    _SNAPSHOT + 'test_cold_snapshot_based_on_power_state': (
        _FINDS, 'tests.flow.test_cold.OrderTestCase.test_running_guest'),
    _SNAPSHOT + 'test_raw_with_rbd_clone_failure_does_cold_snapshot': (
        _FINDS, 'tests.flow.test_cold.OrderTestCase.test_running_guest'),
    _SNAPSHOT + 'test_raw_with_rbd_clone_is_live_snapshot': (
        _FINDS, 'tests.flow.test_live.OrderTestCase'
                '.test_guest_that_is_not_frozen'),
}

_FUNCTIONAL = 'nova.tests.functional.libvirt.'
# They run on Nova's fake libvirt, whose domains have no state() and whose
# disks are no files.
_FAKE = 'nova.tests.fixtures.libvirt.Domain'
_STOPPED = 'tests.flow.test_adopted_image.AdoptedTestCase.'

FUNCTIONAL_TESTS: dict[str, tuple[str, str]] = {
    _FUNCTIONAL + test: (
        _FAKE, _STOPPED + 'test_its_record_is_not_made_again')
    for test in (
        'test_machine_type.LibvirtMachineTypeTest'
        '.test_hw_machine_type_config_update_workflow',
        'test_pci_sriov_servers.PCIServersTest.test_unshelve_after_offload',
        'test_pci_sriov_servers.RemoteManagedServersTest.test_shelve',
        'test_pci_sriov_servers.RemoteManagedServersTest'
        '.test_unshelve_server_with_neutron',
        'test_pci_sriov_servers.SRIOVServersTest'
        '.test_unshelve_server_with_neutron',
        'test_pci_sriov_servers.VDPAServersTest.test_shelve_offload',
        'test_pci_sriov_servers.VDPAServersTest'
        '.test_unshelve_to_different_host',
        'test_pci_sriov_servers.VDPAServersTest.test_unshelve_to_same_host',
        'test_stateless_firmware.LibvirtStatelessFirmwareTest'
        '.test_shelve_and_unshelve_to_different_host',
        'test_stateless_firmware.LibvirtStatelessFirmwareTest'
        '.test_shelve_and_unshelve_to_same_host')
}
