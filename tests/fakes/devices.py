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

"""Passed-through devices, as libvirt and Nova define them."""

PCI = """
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <driver name='vfio'/>
      <source>
        <address domain='0x0000' bus='0x3b' slot='0x00' function='0x1'/>
      </source>
    </hostdev>"""
MDEV = """
    <hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci'>
      <source>
        <address uuid='6a5a24a2-3a90-4a39-8b1f-6f3b1f0f2d5e'/>
      </source>
    </hostdev>"""
PORT = """
    <interface type='hostdev' managed='yes'>
      <mac address='fa:16:3e:0a:0b:0c'/>
      <driver name='vfio'/>
      <source>
        <address type='pci' domain='0x0000' bus='0x3b' slot='0x02'
                 function='0x1'/>
      </source>
      <vlan>
        <tag id='101'/>
      </vlan>
    </interface>"""
# The same address on the wire as PORT has: a bond in the guest.
TWIN_PORT = PORT.replace("function='0x1'", "function='0x2'")
POOL_PORT = """
    <interface type='network'>
      <mac address='fa:16:3e:0a:0b:0e'/>
      <source network='vfs'/>
    </interface>"""
USB = """
    <hostdev mode='subsystem' type='usb'>
      <source><vendor id='0x1234'/><product id='0xbeef'/></source>
    </hostdev>"""
