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

"""Records as releases before the first one wrote them.

Format 1 has one image, in two fields of the record, and the path of a root
disk where format 2 has its layer.
"""

import collections.abc as cabc
import typing as ty

VERSION = 1

Fields = dict[str, ty.Any]


def upgrade(data: Fields) -> Fields:
    """Return what format 2 says instead, without the version.

    :raises KeyError: when a field is missing
    :raises TypeError: when one is strange
    """
    fields = dict(data)
    del fields['version']
    image = {'id': fields.pop('image_id'), 'name': fields.pop('image_name')}
    fields['images'] = [image] if image['id'] else []
    fields['entries'] = [_entry(entry) for entry in fields['entries']]
    return fields


def _entry(entry: Fields) -> Fields:
    change = _CHANGES.get(entry['kind'])
    if change is None:
        return entry
    return {**entry, 'facts': change(dict(entry['facts']))}


def _undefine_domain(facts: Fields) -> Fields:
    """Write the root disk as a layer.

    Format 1 knew it as a path alone, whose existence was looked for.
    """
    facts['root'] = {'path': facts.pop('root_path'), 'format': '',
                     'storage': 'file'}
    return facts


_CHANGES: dict[str, cabc.Callable[[Fields], Fields]] = {
    'UndefineDomain': _undefine_domain,
}
