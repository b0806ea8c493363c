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

"""nova-snap list"""

import argparse
from concurrent import futures
import dataclasses
import functools

from nova_snap.cmd import runtime as runtime_module
from nova_snap.cmd import show
from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.flows import snapshot
from nova_snap.hypervisor import domain as domain_module
from nova_snap.model.plan import plan as plan_model
from nova_snap.model.plan import volumes as volumes_plan
from nova_snap.model import request as request_model
from nova_snap.steps import world as world_module

# Instances that are looked at: most of the time a qemu-img is waited for.
AT_ONCE = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what list takes."""
    parser.add_argument('--json', action='store_true',
                        help='print it for a program to read')


def run(arguments: argparse.Namespace,
        runtime: runtime_module.Runtime) -> None:
    """List the instances and what a snapshot of each would do.

    :raises JournalError: when the journal cannot be read
    :raises OutputLost: when the list cannot be printed
    """
    node = runtime.node(signed_in=False)
    # One look at all processes does for all instances.
    runs = node.nova_compute_runs()
    node = dataclasses.replace(node, nova_compute_runs=lambda: runs)
    look = functools.partial(_row, node, recovery.status(node))
    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        rows = [row for row in pool.map(look, node.world.host.domains())
                if row is not None]
    if arguments.json:
        keys = ('uuid', 'name', 'state', 'snapshot')
        show.as_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        show.table(('UUID', 'NAME', 'STATE', 'SNAPSHOT'), rows)


def _row(node: world_module.Node, findings: list[recovery.Finding],
         domain: domain_module.Domain) -> tuple[str, ...] | None:
    try:
        name, state = domain.name(), domain.state()
    except errors.DomainGone:
        return None
    except errors.HypervisorError as exc:
        # As over a name that is no UTF-8; the others are listed.
        return domain.uuid, '-', '-', f'no: {exc}'
    # Nothing is made: any name will do.
    request = request_model.Request(domain.uuid, (
        request_model.RequestedImage('', runtime_module.PROGRAM),))
    said: tuple[str, ...] = ()
    try:
        said = recovery.remarks(findings, domain)
        plan = snapshot.plan(node, request)
        answer = f'{plan.method}, {_what(plan)}'
    except errors.SnapError as exc:
        answer = f'no: {exc}'
    return domain.uuid, name, str(state), '; '.join((answer, *said))


def _what(plan: plan_model.Plan | volumes_plan.VolumePlan) -> str:
    """Name the root disk and the format of the image."""
    if isinstance(plan, volumes_plan.VolumePlan):
        root = plan.volumes[0].disk.target_dev
        return f'{root} as {volumes_plan.IMAGE_FORMAT}'
    (image,) = plan.images
    return f'{image.disk.target_dev} as {image.image_format}'
