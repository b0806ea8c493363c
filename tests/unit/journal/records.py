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

"""Records for the tests of this room."""

from nova_snap.journal import record as record_model

#: what must never be seen outside of the file
SECRET = 'open-sesame'


def entry(kind='UndefineDomain', role=record_model.Role.HOLD,
          phase=record_model.Phase.INTENT, **facts):
    """Return an entry that carries a secret."""
    return record_model.Entry(
        kind=kind, role=role, phase=phase,
        facts=facts or {'xml': f"<graphics passwd='{SECRET}'/>"})


def record(record_id='a-record', **changes):
    """Return a record without entries."""
    fields = {
        'id': record_id,
        'operation': 'live',
        'instance_uuid': 'an-instance',
        'instance_name': 'guest',
        'images': [record_model.Image('an-image', 'nightly')],
        'host': 'node-1',
        'machine_id': 'a-machine',
        'boot_id': 'a-boot',
        'started_at': '2026-11-22T23:49:09+00:00',
        **changes,
    }
    return record_model.Record(**fields)
