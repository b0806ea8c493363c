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

"""Sizes are bytes and times are seconds, everywhere in this package.

This file has the few names needed to write a size down and to show one.
"""

KiB = 1 << 10
MiB = 1 << 20
GiB = 1 << 30


def format_bytes(size: int) -> str:
    """Show a size as an operator reads it: ``1.5 GiB``."""
    for name, unit in (('GiB', GiB), ('MiB', MiB), ('KiB', KiB)):
        if abs(size) >= unit:
            return f'{size / unit:.1f} {name}'
    return f'{size} bytes'


def ceil_gib(size: int) -> int:
    """Round a size up to whole GiB, the unit of Glance's ``min_disk``."""
    return -(-size // GiB)
