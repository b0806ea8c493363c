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

import contextlib
import dataclasses

import libvirt
from oslotest import base

from nova_snap.steps import world as world_module
from tests.faults import border as border_module
from tests.faults import calls as calls_module


class Tape:
    """Stands for a part of the world that is not known yet."""

    def __init__(self):
        self.done = []

    def wind(self, length):
        self.done.append(f'wind {length}')
        return length

    def rewind(self):
        return self.wind(-1)

    @contextlib.contextmanager
    def held(self):
        self.done.append('held')
        yield 'tape'
        self.done.append('let go')

    def _oil(self):
        pass


def make_tape():
    """Make a class of its own, which a border may change."""
    return type('Tape', (Tape,), {
        name: value for name, value in vars(Tape).items()
        if not name.startswith('__')})


class BorderTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.met = []
        self.border = border_module.Border(self.meet)
        kind = make_tape()
        self.border._wrap_all(kind, 'Tape', 'Tape.')
        self.tape = kind()

    def meet(self, call, when):
        self.met.append(f'{when} {call}: {len(self.tape.done)}')

    def test_a_call_is_met_before_and_after(self):
        self.assertEqual(3, self.tape.wind(3))
        self.assertEqual(['before Tape.wind.1: 0', 'after Tape.wind.1: 1'],
                         self.met)

    def test_calls_of_one_name_are_counted(self):
        self.tape.wind(1)
        self.tape.wind(2)
        self.assertEqual('after Tape.wind.2: 2', self.met[-1])

    def test_what_a_call_calls_itself_is_not_met(self):
        self.tape.rewind()
        self.assertEqual(['before Tape.rewind.1: 0',
                          'after Tape.rewind.1: 1'], self.met)

    def test_a_block_is_met_at_its_begin(self):
        with self.tape.held() as held:
            self.assertEqual('tape', held)
            self.assertEqual(['before Tape.held.1: 0',
                              'after Tape.held.1: 1'], self.met)
            self.tape.wind(1)
        self.assertEqual('after Tape.wind.1: 2', self.met[-1])

    def test_a_call_that_fails_is_not_met_after(self):
        self.assertRaises(TypeError, self.tape.wind)
        self.assertEqual(['before Tape.wind.1: 0'], self.met)
        self.tape.wind(1)
        self.assertEqual('after Tape.wind.2: 1', self.met[-1])


class WorldTestCase(base.BaseTestCase):

    def test_each_part_of_the_world_is_at_the_border_or_said_not_to_be(self):
        fields = {field.name for field in
                  dataclasses.fields(world_module.World)}
        self.assertEqual(set(), set(border_module.NO_BORDER) - fields)
        self.assertEqual(
            len(fields) - len(border_module.NO_BORDER) + 3,
            len(border_module.world_classes()))

    def test_what_is_said_to_look_is_there(self):
        there = {f'{owner.__name__}.{name}'
                 for owner in border_module.world_classes()
                 for name in vars(owner)}
        self.assertEqual(set(), calls_module.WORLD_LOOKS - there)

    def test_what_is_said_to_look_in_the_binding_is_there(self):
        for name in calls_module.LIBVIRT_LOOKS:
            owner, _, method = name.rpartition('.')
            if owner:
                self.assertTrue(hasattr(getattr(libvirt, owner), method),
                                name)
