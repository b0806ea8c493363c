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

"""Our class with all of Nova's, for Nova's own tests."""

import collections.abc as cabc
import functools
import importlib
import os
import unittest

import fixtures
import nova.conf
from nova.virt import libvirt
from nova.virt.libvirt import driver

from nova_snap import conf as conf_module
from nova_snap.driver import interface

CONF = nova.conf.CONF


def _initialize(self, *args, **kwargs):
    """Begin as our class does, with paths that a node would have.

    Nova's tests leave state_path, and so the journal, in the package and
    give a relative snapshots_directory: both are refused at the start.
    """
    conf_module.register_own(CONF)
    CONF.set_override('journal_dir', _folder.path, 'nova_snap')
    CONF.set_override('snapshots_directory', os.path.abspath(
        CONF.libvirt.snapshots_directory), 'libvirt')
    super(Substitute, self).__init__(*args, **kwargs)


_folder = fixtures.TempDir()
_folder.setUp()

# Nova's tests replace attributes of the class and put back what they have
# read from it: read from a base class, a static method would come back as
# another. So all of Nova's attributes are the substitute's own.
Substitute = type('LibvirtDriver', (interface.LibvirtDriver,),
                  {**vars(driver.LibvirtDriver),
                   **vars(interface.LibvirtDriver),
                   '__init__': _initialize})


def install() -> None:
    """Put our class in the place of Nova's."""
    driver.LibvirtDriver = libvirt.LibvirtDriver = Substitute


def expect_failures(test_ids: cabc.Iterable[str]) -> None:
    """Mark tests that have to fail."""
    for test_id in test_ids:
        module, test_class, name = test_id.rsplit('.', 2)
        _expect_failure(getattr(importlib.import_module(module), test_class),
                        name)


def _expect_failure(test_class: type, name: str) -> None:
    """Mark a test of one class, not of those that inherit it."""
    method = getattr(test_class, name)
    for inheriting in test_class.__subclasses__():
        if name not in vars(inheriting):
            setattr(inheriting, name, method)

    @unittest.expectedFailure
    @functools.wraps(method)
    def marked(self: unittest.TestCase) -> None:
        method(self)

    setattr(test_class, name, marked)
