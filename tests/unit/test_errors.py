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

import inspect
import re

import ddt
from oslotest import base

from nova_snap import errors


def _classes():
    return [found for _name, found in inspect.getmembers(errors)
            if inspect.isclass(found)
            and issubclass(found, errors.SnapError)]


def _facts(template):
    """Name what a template asks for, each with a value of its own."""
    return {name: f'<{name}>'
            for name in re.findall(r'%\((\w+)\)', template)}


def _drawn():
    """Read the tree of the module's docstring: each name and its parent."""
    parents = {}
    above = []
    for line in errors.__doc__.splitlines():
        found = re.match(r'    ([ |+`-]*)(\w+)', line)
        if found:
            del above[len(found[1]) // len('+-- '):]
            if above:
                parents[found[2]] = above[-1]
            above.append(found[2])
    return parents


@ddt.ddt
class TreeTestCase(base.BaseTestCase):

    @ddt.data(*_classes())
    def test_its_facts_make_the_message_and_are_attributes(self, error):
        facts = _facts(error.template)

        raised = error(**facts)

        for name, value in facts.items():
            self.assertIn(value, str(raised))
            self.assertEqual(value, getattr(raised, name))

    @ddt.data(*_classes())
    def test_a_fact_that_is_missing_is_a_bug_and_not_a_message(self, error):
        self.assertRaises(KeyError, error)

    @ddt.data(*_classes())
    def test_it_is_drawn_below_its_parent(self, error):
        parents = _drawn()
        # Retriable is drawn beside those that have it.
        if error not in (errors.SnapError, errors.Retriable):
            self.assertIn(parents[error.__name__],
                          [one.__name__ for one in error.__bases__])

    def test_nothing_is_drawn_that_is_not_there(self):
        self.assertEqual({error.__name__ for error in _classes()},
                         set(_drawn()) | {'SnapError', 'Retriable'})

    def test_a_fact_that_nobody_gave_is_an_attribute_error(self):
        error = errors.ConfigError(option='o', reason='r')
        self.assertRaises(AttributeError, getattr, error, 'instance')

    def test_it_does_not_hang_where_it_is_unpickled(self):
        # __getattr__ runs before __init__ then, and must not ask itself.
        empty = errors.SnapError.__new__(errors.SnapError)
        self.assertRaises(AttributeError, getattr, empty, 'instance')


@ddt.ddt
class KindTestCase(base.BaseTestCase):

    @ddt.data(
        (errors.NotEnoughSpace, errors.Refused),
        (errors.InstanceBusy, errors.Refused),
        (errors.MirrorTimeout, errors.MirrorFailed),
        (errors.MirrorFailed, errors.HypervisorError),
        (errors.ImageUnsafe, errors.StorageError),
        (errors.ImageServiceUnavailable, errors.Retriable),
        (errors.ImageServiceUnavailable, errors.ImageServiceError),
        (errors.VolumeServiceUnavailable, errors.Retriable),
        (errors.VolumeServiceUnavailable, errors.VolumeServiceError),
        (errors.VolumeSnapshotFailed, errors.VolumeServiceError),
        (errors.JournalUnknownVersion, errors.JournalError),
    )
    @ddt.unpack
    def test_who_catches_the_one_catches_the_other(self, error, kind):
        self.assertTrue(issubclass(error, kind))

    def test_only_what_may_succeed_again_is_retriable(self):
        self.assertEqual(
            {errors.Retriable, errors.ImageServiceUnavailable,
             errors.VolumeServiceUnavailable},
            {error for error in _classes()
             if issubclass(error, errors.Retriable)})
