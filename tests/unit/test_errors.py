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

import dataclasses
import inspect
import re

import ddt
from oslotest import base

from nova_snap import errors
from nova_snap import units

# A value for each type of field that is no text.
NUMBERS = {int: 4096, int | None: 503, bool: True}


def _classes():
    return [found for _name, found in inspect.getmembers(errors)
            if inspect.isclass(found)
            and issubclass(found, errors.SnapError)]


def _facts(error):
    """Name the fields of an error, each with a value of its own."""
    return {field.name: NUMBERS.get(field.type, f'<{field.name}>')
            for field in dataclasses.fields(error) if field.init}


def _is_told(name, error):
    """Tell whether the message is to have a field as it stands."""
    return f'%({name})s' in error.template


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
        facts = _facts(error)

        raised = error(**facts)

        for name, value in facts.items():
            self.assertEqual(value, getattr(raised, name))
            if _is_told(name, error):
                self.assertIn(str(value), str(raised))

    def test_a_size_is_told_as_an_operator_reads_it(self):
        raised = errors.NotEnoughSpace(
            path='/srv', free_bytes=5 * units.GiB, needed_bytes=3 * units.GiB,
            reserved_bytes=3 * units.GiB, reserve_bytes=units.GiB,
            remedy='Free it.')

        self.assertEqual(
            '/srv has 5.0 GiB free, of which 3.0 GiB are for other snapshots '
            'under way and 1.0 GiB stay free ([nova_snap]space_reserve), and '
            'the snapshot needs 3.0 GiB: 2.0 GiB are missing. Free it.',
            str(raised))

    def test_the_same_error_with_another_reason_keeps_its_facts(self):
        raised = errors.MirrorTimeout(instance='i', target_dev='vda',
                                      reason='it is late')

        other = dataclasses.replace(raised, reason='it stands still')

        self.assertIsInstance(other, errors.MirrorTimeout)
        self.assertEqual('vda', other.target_dev)
        self.assertIn('it stands still', str(other))

    @ddt.data(*_classes())
    def test_a_fact_that_is_missing_is_a_bug_and_not_a_message(self, error):
        self.assertRaises(TypeError, error)

    @ddt.data(*_classes())
    def test_it_is_drawn_below_its_parent(self, error):
        parents = _drawn()
        # Retriable is drawn next to those that have it.
        if error not in (errors.SnapError, errors.Retriable):
            self.assertIn(parents[error.__name__],
                          [one.__name__ for one in error.__bases__])

    def test_nothing_is_drawn_that_is_not_there(self):
        self.assertEqual({error.__name__ for error in _classes()},
                         set(_drawn()) | {'SnapError', 'Retriable'})

    def test_a_fact_that_was_not_given_is_an_attribute_error(self):
        error = errors.ConfigError(option='o', reason='r')
        self.assertRaises(AttributeError, getattr, error, 'instance')


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
        (errors.ImageStuck, errors.ImageServiceUnavailable),
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
             errors.ImageStuck, errors.VolumeServiceUnavailable},
            {error for error in _classes()
             if issubclass(error, errors.Retriable)})
