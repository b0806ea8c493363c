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

"""Decide whether an image is written into Ceph, or uploaded."""

import dataclasses

from nova_snap.model.plan import image_format as format_plan
from nova_snap.model import request as request_model
from nova_snap.model import settings as settings_model

# The value of [nova_snap]deliver that asks for it.
RBD = 'rbd'


def as_written(settings: settings_model.Settings) -> settings_model.Settings:
    """Return what holds for images that are written: raw, and no file."""
    return dataclasses.replace(
        settings, snapshot_image_format=format_plan.RAW, upload='stream')


def why_not(request: request_model.Request,
            settings: settings_model.Settings) -> str | None:
    """Say why an image is uploaded; '' where that was asked for."""
    if settings.deliver != RBD:
        return ''
    named = format_plan.named(request, settings)
    if named not in (None, format_plan.RAW):
        return f'the image is to be {named}, and in Ceph they are raw'
    return None
