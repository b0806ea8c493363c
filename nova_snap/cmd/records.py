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

"""nova-snap status, nova-snap recover"""

import argparse
import dataclasses
import typing as ty

from nova_snap.cmd import runtime as runtime_module
from nova_snap.cmd import show
from nova_snap import errors
from nova_snap.flows import recovery

# Facts of a step that are no secret, and that an operator looks for elsewhere.
SHOWN_FACTS = ('volume_id', 'snapshot_id')


def add_status_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what status takes."""
    parser.add_argument('--json', action='store_true',
                        help='print it for a program to read')


def add_recover_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what recover takes."""
    parser.add_argument('--nova-is-stopped', action='store_true',
                        help='start guests of Nova\'s too: no Nova has '
                             'deleted, evacuated or started them elsewhere')
    parser.add_argument('--json', action='store_true',
                        help='print it for a program to read')


def run_status(arguments: argparse.Namespace,
               runtime: runtime_module.Runtime) -> None:
    """List what is under way or was left.

    :raises OutputLost: when the list cannot be printed
    """
    _show(recovery.status(runtime.node(signed_in=False)), arguments.json,
          'Nothing is under way and nothing was left')


def run_recover(arguments: argparse.Namespace,
                runtime: runtime_module.Runtime) -> None:
    """Settle what killed processes left.

    :raises RollbackIncomplete: when a record could not be settled
    """
    findings = recovery.recover(runtime.node(signed_in=False),
                                nova_is_stopped=arguments.nova_is_stopped)
    settled = sum(f.outcome == recovery.Outcome.SETTLED for f in findings)
    with show.report(f'{settled} of {len(findings)} records are settled'):
        _show(findings, arguments.json, 'Nothing was left')
    failed = [f for f in findings if f.outcome == recovery.Outcome.FAILED]
    if failed:
        raise errors.RollbackIncomplete(
            reason=f'{len(failed)} of {len(findings)} records are not '
                   'settled',
            undone='; '.join(f.reason for f in failed),
            record=', '.join(f.record.id for f in failed if f.record))


def _show(findings: list[recovery.Finding], as_json: bool,
          nothing: str) -> None:
    if as_json:
        show.as_json([_describe(finding) for finding in findings])
    elif not findings:
        show.out(nothing)
    else:
        show.table(('RECORD', 'INSTANCE', 'SNAPSHOT', 'STARTED', 'IS', ''),
                   [_row(finding) for finding in findings])


def _describe(finding: recovery.Finding) -> dict[str, ty.Any]:
    """Describe a record without its facts, which carry secrets."""
    described: dict[str, ty.Any] = {'outcome': finding.outcome,
                                    'reason': finding.reason}
    record = finding.record
    if record is not None:
        described.update(
            record=record.id, operation=record.operation,
            instance_uuid=record.instance_uuid,
            instance_name=record.instance_name,
            images=[dataclasses.asdict(image) for image in record.images],
            host=record.host,
            started_at=record.started_at, committed=record.committed,
            steps=[{'step': e.kind, 'role': e.role, 'phase': e.phase,
                    **{name: e.facts[name] for name in SHOWN_FACTS
                       if name in e.facts}}
                   for e in record.entries])
    return described


def _row(finding: recovery.Finding) -> tuple[str, ...]:
    record = finding.record
    if record is None:
        return '-', '-', '-', '-', finding.outcome, finding.reason
    return (record.id, record.instance_name,
            ' '.join([record.operation,
                      *(f'"{image.name}"' for image in record.images)]),
            record.started_at,
            finding.outcome, finding.reason)
