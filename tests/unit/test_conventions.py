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

"""What a linter does not say: where things may stand, and how long."""

import ast
import collections
import functools
import pathlib
import re
import sys

from oslotest import base

import nova_snap
from nova_snap import errors

PACKAGE = pathlib.Path(nova_snap.__file__).parent
TESTS = pathlib.Path(__file__).parents[1]

# Lines of a file that one still finds one's way in.
LONGEST_FILE = 500

# Lines of a function that fit a screen, without its docstring.
LONGEST_FUNCTION = 40

# A room is named by what is in it.
NAMES_OF_NOTHING = {'utils', 'util', 'common', 'helpers', 'helper', 'manager',
                    'misc'}

# These know nothing but Python, and each other downwards.
PURE_ROOMS = ('model', 'journal')
WITHIN_PURE = ('nova_snap.compat', 'nova_snap.errors', 'nova_snap.model',
               'nova_snap.units')

# They raise what happened; what it means for a snapshot is the plan's to say.
ADAPTERS = ('services', 'hypervisor', 'host', 'transfer')

# Whose modules have one alias each.
OURS = ('nova_snap.', 'tests.', 'bench.')

# Of the model, those that read XML.
READ_XML = ('backup.py', 'checkpoint.py', 'domain.py', 'hostdev.py',
            'nova.py', 'secret.py')

# Of keystoneauth1, what the options need: how they are loaded, what they
# make and what they raise. The network is for services alone.
KEYSTONE_IN_CONF = {'exceptions', 'loading', 'plugin'}

# Words that hide who acts, or have another meaning than they look: see "Write
# plain English" in CONTRIBUTING.rst. A name of several words may hold one. The
# user of that name stands in quotes.
NOT_PLAIN = re.compile(
    r"(?<![A-Za-z'])(?i:nobody|somebody|whoever|meanwhile)(?![a-z'])"
    r'|\b[Bb]eside\b|\b(is|are) told\b|\b[Dd]emand that\b')
WRITTEN = ('nova_snap', 'tests', 'bench', 'doc/source', 'releasenotes/notes',
           'etc', 'tools', 'devstack', '.ci', 'README.rst', 'CONTRIBUTING.rst',
           'pyproject.toml', 'tox.ini', 'setup.cfg', 'requirements.txt',
           'test-requirements.txt', 'lint-requirements.txt')
# Where they are listed: in this file, and in CONTRIBUTING from here on.
LISTS_WORDS = pathlib.Path(__file__)
HOW_TO_WRITE = 'Write plain English\n'

# They are to be run all the time.
QUICK_TESTS = ('unit', 'flow', 'fakes')


def _name(path):
    return str(path.relative_to(PACKAGE.parent))


FILES = {_name(path): path for path in sorted(PACKAGE.rglob('*.py'))}
TEST_FILES = {str(path.relative_to(TESTS.parent)): path
              for folder in (TESTS, TESTS.parent / 'bench')
              for path in sorted(folder.rglob('*.py'))}


def _imports(path):
    """Name the modules that a file imports, fully."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{alias.name}'
                        for alias in node.names)


def _modules_by_name(path):
    """Name the modules of this project that a file imports, and as what."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                module = f'{node.module}.{alias.name}'
                if _is_module(module):
                    yield module, alias.asname or alias.name


def _missing_names(path):
    """Name what a file looks for in modules of this project in vain."""
    modules = {alias: module for module, alias in _modules_by_name(path)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(
                node.value, ast.Name) and node.value.id in modules:
            module = modules[node.value.id]
            if not (node.attr in _names_in(module)
                    or node.attr.startswith('__')
                    or _is_module(f'{module}.{node.attr}')):
                yield f'{node.lineno}: {module}.{node.attr}'


@functools.cache
def _names_in(module):
    """Return each name that a module binds."""
    path = PACKAGE.parent / module.replace('.', '/')
    path = path / '__init__.py' if path.is_dir() else path.with_suffix('.py')
    return set(_bound(ast.parse(path.read_text())))


def _bound(block):
    """Yield the names that a block binds, but for those within functions."""
    for node in ast.iter_child_nodes(block):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition('.')[0]
        yield from _bound(node)


def _is_module(name):
    path = PACKAGE.parent / name.replace('.', '/')
    return (name.startswith(OURS) and (
        path.with_suffix('.py').exists() or path.is_dir()))


def _allowed(path):
    """Name what a file of a pure room may import besides Python."""
    more = {'journal': ('nova_snap.folder', 'nova_snap.journal')}.get(
        path.relative_to(PACKAGE).parts[0], ())
    if path.name in READ_XML and path.parent.name == 'model':
        more += ('lxml',)
    return WITHIN_PURE + more


def _written():
    """Give the name and the text of each file that a person reads."""
    for name in WRITTEN:
        root = TESTS.parent / name
        for path in sorted(root.rglob('*')) if root.is_dir() else [root]:
            if path.is_file() and path != LISTS_WORDS and (
                    path.suffix not in ('.pyc', '.xml', '.json')):
                text = path.read_text()
                if path.name == 'CONTRIBUTING.rst':
                    text = text.partition(HOW_TO_WRITE)[0]
                yield path.relative_to(TESTS.parent), text


def _refusals(path):
    """Name the errors of the plan that a file names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == 'errors'
                and issubclass(getattr(errors, node.attr), errors.Refused)):
            yield node.attr


def _functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _length(function):
    first = function.body[0]
    docstring = 0
    if ast.get_docstring(function, clean=False) is not None:
        docstring = first.end_lineno - first.lineno + 1
    return function.end_lineno - function.lineno + 1 - docstring


class SourceTestCase(base.BaseTestCase):

    def test_a_file_that_says_something_has_its_licence(self):
        licence = (PACKAGE / 'units.py').read_text().split('\n"""')[0]
        # A program begins with its interpreter.
        texts = {name: re.sub(r'\A#!.*\n', '', path.read_text())
                 for name, path in (FILES | TEST_FILES).items()}
        self.assertEqual(
            [], [name for name, text in texts.items()
                 if text.strip()
                 and text[:len(licence)].strip() != licence.strip()])

    def test_a_file_is_not_too_long(self):
        lines = {name: path.read_text().count('\n')
                 for name, path in (FILES | TEST_FILES).items()}
        self.assertEqual(
            [], [f'{name}: {count} lines' for name, count in lines.items()
                 if count > LONGEST_FILE])

    def test_a_function_fits_a_screen(self):
        self.assertEqual(
            [], [f'{name}, {function.name}: {_length(function)} lines'
                 for name, path in FILES.items()
                 for function in _functions(path)
                 if _length(function) > LONGEST_FUNCTION])

    def test_a_room_is_named_by_what_is_in_it(self):
        self.assertEqual(
            [], [name for name in FILES
                 if NAMES_OF_NOTHING
                 & set(pathlib.Path(name).with_suffix('').parts)])

    def test_an_adapter_refuses_nothing(self):
        self.assertEqual(
            [], [f'{name}: {refusal}' for name, path in FILES.items()
                 if path.relative_to(PACKAGE).parts[0] in ADAPTERS
                 for refusal in _refusals(path)])


class ImportTestCase(base.BaseTestCase):
    """What the contracts in pyproject.toml cannot say."""

    def test_a_pure_room_needs_python_alone(self):
        self.assertEqual(
            [], [f'{name}: {module}' for name, path in FILES.items()
                 if path.relative_to(PACKAGE).parts[0] in PURE_ROOMS
                 for module in _imports(path)
                 if module.split('.')[0] not in sys.stdlib_module_names
                 and not module.startswith(_allowed(path))])

    def test_of_keystoneauth_the_options_use_its_loading(self):
        self.assertEqual(
            [], [f'{name}: {module}' for name, path in FILES.items()
                 if path.parent == PACKAGE / 'conf'
                 for module in _imports(path)
                 if module.startswith('keystoneauth1.')
                 and module.split('.')[1] not in KEYSTONE_IN_CONF])

    def test_a_module_has_one_name_everywhere(self):
        """Who knows it in one file knows it in all."""
        names = collections.defaultdict(set)
        for path in (FILES | TEST_FILES).values():
            for module, name in _modules_by_name(path):
                names[module].add(name)
        self.assertEqual(
            {}, {module: sorted(found) for module, found in names.items()
                 if len(found) > 1})

    def test_a_name_is_in_the_module_that_is_asked_for_it(self):
        """The tests have no types that would say so."""
        self.assertEqual(
            [], [f'{name}:{missing}'
                 for name, path in (FILES | TEST_FILES).items()
                 for missing in _missing_names(path)])


class TestsTestCase(base.BaseTestCase):

    def test_no_test_waits_for_time_to_pass(self):
        self.assertEqual(
            [], [f'{name}:{node.lineno}' for name, path in TEST_FILES.items()
                 if name.split('/')[1] in QUICK_TESTS
                 for node in ast.walk(ast.parse(path.read_text()))
                 if isinstance(node, ast.Attribute) and node.attr == 'sleep'
                 and isinstance(node.value, ast.Name)
                 and node.value.id == 'time'])


class WordsTestCase(base.BaseTestCase):

    def test_the_words_are_plain(self):
        self.assertEqual(
            [], [f'{name}:{number}: {found[0]}' for name, text in _written()
                 for number, line in enumerate(text.splitlines(), start=1)
                 for found in NOT_PLAIN.finditer(line)])

    def test_a_word_is_found_in_a_name_too(self):
        for text in ('# Nobody waits', 'def test_it_goes_meanwhile(self):',
                     'SomebodyElse', '"""Demand that', 'it is told'):
            self.assertTrue(NOT_PLAIN.search(text), text)
        for text in ("USER = 'nobody'", 'besides', 'as it was told'):
            self.assertIsNone(NOT_PLAIN.search(text), text)
