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

"""Glance: the calls we need of it, each safe to make again.

An image has an id that we choose before we ask for it. So a recovery finds
what a killed process left, and what an answer that was lost on its way said
can be looked up.
"""

import collections.abc as cabc
import dataclasses
import http
import typing as ty

from keystoneauth1 import session as ksa_session
from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.model import consistency as consistency_model
from nova_snap.model import disk_work as disk_work_model
from nova_snap.model import image as image_model
from nova_snap.model import remedy
from nova_snap.model import stream
from nova_snap.services.glance import locations as locations_module
from nova_snap.services.glance import upload as upload_module
from nova_snap.services.glance import wire as wire_module
from nova_snap.services import identity
from nova_snap.services import retry
from nova_snap.services import sessions

LOG = logging.getLogger(__name__)

# With one of these an image is made for another project: admin by Glance's
# own policy, service where the operator's policy says so.
# :source: glance/policies/base.py ADMIN_OR_PROJECT_MEMBER_CREATE_IMAGE
ADMIN = 'admin'
SERVICE = 'service'
OWNER_ROLES = frozenset({ADMIN, SERVICE})

NO_LOCATIONS = (
    'Glance takes no locations from us. It does from a user with the role '
    + SERVICE + '{}. A Glance without the API 2.17 has to have '
    'show_multiple_locations = true in glance-api.conf')
# Of nova-compute, which asks as the user whose request it is.
SENT_ALONG = (
    ', and nova-compute sends one along with send_service_user_token = true '
    'in [service_user]')


class Images:
    """The images of one Glance. Nothing is sent before the first call."""

    def __init__(self, session: ksa_session.Session,
                 options: cabc.Mapping[str, ty.Any], *,
                 policy: sessions.Policy | None = None,
                 clock: clock_module.Clock | None = None,
                 us: identity.Identity | None = None) -> None:
        """Remember how Glance is reached.

        :param options: keyword arguments of keystoneauth1's Adapter
        :param us: as whom we ask, where the session cannot say it
        """
        self._us = us
        self._policy = policy or sessions.Policy()
        self._wire = wire_module.Wire(session, options, self._policy.timeouts)
        self._clock = clock or clock_module.Clock()
        self._retry = retry.Retry(self._policy.num_retries, self._clock)

    def check(self, owner: str | None = None) -> None:
        """See that Glance answers and takes our credentials.

        Each service is asked once, until one answers.

        :param owner: the project that an image will be made for
        :raises ImageServiceUnavailable: when Glance or Keystone is silent
        :raises ImageServiceRefused: when the credentials are not accepted,
            or have no role to make an image for that project
        :raises ImageServiceError: when what answers is no Glance
        """
        retry.Retry(self._wire.services - 1, self._clock).call(
            self._wire.probe)
        us = self._us or self._wire.who()
        if (owner and us.project_id and owner != us.project_id
                and us.roles is not None and not us.roles & OWNER_ROLES):
            raise _not_owner(owner, None)

    def get(self, image_id: str, *,
            owner: str | None = None) -> image_model.Image | None:
        """Look an image up; None where there is none that we may see.

        :param owner: the project whose image it is, where an image that is
            hidden must not be taken for one that is gone
        :raises ImageServiceUnavailable: when Glance stays silent
        :raises ImageServiceRefused: when it does not let us look, or may
            hide the image from us
        :raises ImageServiceError: when what answers is no Glance
        """
        image = self._retry.call(lambda: self._wire.look(image_id))
        if image is None:
            self._must_see(image_id, owner)
        return image

    def stores(self) -> list[image_model.Store] | None:
        """List Glance's stores; None where it has no list, or not for us.

        It has for the roles admin and service.

        :raises ImageServiceUnavailable: when Glance stays silent
        """
        try:
            return self._retry.call(self._wire.stores)
        except errors.ImageServiceUnavailable:
            raise
        except errors.ImageServiceError as exc:
            LOG.debug('Glance does not say what stores it has: %s', exc)
            return None

    def location_way(self, image_id: str) -> (
            image_model.LocationWay | None):
        """Ask how Glance takes a location of a queued image; None for none.

        :raises ImageGone: when there is no such image
        :raises ImageServiceUnavailable: when Glance stays silent
        """
        return self._retry.call(lambda: self._locations().way(image_id))

    def add_location(self, image_id: str, url: str,
                     way: image_model.LocationWay, *, size: int,
                     sha512: str | None) -> image_model.Image:
        """Make an image of data where they lie, and see that it is active.

        :param size: of the data, bytes
        :param sha512: None where Glance is to compute it
        :raises ImageServiceRefused: when Glance takes no location from us
        :raises ImageGone: when the image was deleted
        :raises ImageServiceUnavailable: when Glance stays silent, or is not
            done in time; the image may be active then, or later
        :raises ImageCorrupt: when Glance finds data of another size there
        :raises ImageServiceError: when Glance does not find the data, or
            they have another hash
        """
        image = self._locations().add(
            image_id, url, way, sha512=sha512,
            timeout=self._policy.timeouts.after_last_byte(size))
        if image.size != size:
            raise errors.ImageCorrupt(
                call='add a location', image_id=image_id, status=None,
                reason=f'it has {image.size} bytes instead of {size}')
        return image

    def why_no_location(self) -> str:
        """Say what would let Glance take a location from us.

        :raises ImageServiceError: when we cannot sign in
        """
        return NO_LOCATIONS.format(
            SENT_ALONG if self._us else _role(self._wire.who()))

    def _locations(self) -> locations_module.Locations:
        return locations_module.Locations(self._wire, self._policy,
                                          self._clock)

    def find(self, properties: cabc.Mapping[str, str]) -> (
            list[image_model.Image]):
        """Return all images with these properties, as far as we see them.

        :raises ImageServiceUnavailable: when Glance stays silent
        :raises ImageServiceRefused: when it does not let us look
        :raises ImageServiceError: when what answers is no Glance
        """
        return self._retry.call(lambda: self._wire.find(properties))

    def create(self, spec: image_model.ImageSpec) -> image_model.Image:
        """Make the record of an image; its data is sent later.

        It may be called again with the same spec: the record is made once.

        :raises ImageServiceRefused: when we must not make it, naming the
            role that is missing where it is for another project
        :raises ImageServiceUnavailable: when Glance stays silent; the record
            may be there or not
        :raises ImageQuotaExceeded: when the project has too many
        :raises ImageServiceError: when Glance takes offence at the spec, or
            an image that is not ours has this id
        """
        return self._retry.call(lambda: self._create(spec))

    def set_properties(self, image_id: str,
                       properties: cabc.Mapping[str, str]) -> None:
        """Add properties to a record, or replace them.

        :raises ImageGone: when the image is not there any more
        :raises ImageServiceUnavailable: when Glance stays silent; they may
            be there or not
        :raises ImageServiceRefused: when we must not set one of them
        :raises ImageQuotaExceeded: when the image has too many
        :raises ImageServiceError: when Glance takes offence at one of them
        """
        self._retry.call(lambda: self._wire.patch(image_id, properties))

    def upload(self, image_id: str, source: stream.Source, *,
               progress: stream.Progress | None = None,
               is_replaceable: bool = False,
               disk_work: disk_work_model.DiskWork = disk_work_model.run_now
               ) -> image_model.Image:
        """Send the data of an image and see that all of it arrived.

        Each attempt sends the source from its first byte. When this fails
        the image is the caller's to delete; it is not active then, except
        with ImageCorrupt.

        :param is_replaceable: the caller can have another image instead
        :param disk_work: runs each pass over the source
        :raises ImageStuck: when the image stays in the hands of an attempt
            that ended
        :raises ImageServiceUnavailable: when every attempt broke off
        :raises ImageServiceRefused: when we must not send it
        :raises ImageQuotaExceeded: when there is no room; not tried again
        :raises ImageGone: when it is not there any more; not tried again
        :raises ImageCorrupt: when Glance has other bytes than were sent
        :raises ImageServiceError: when Glance takes offence at the data
        :raises StorageError: when the source cannot be read
        """
        return upload_module.Upload(
            self._wire, image_id, source, policy=self._policy,
            clock=self._clock, is_replaceable=is_replaceable,
            disk_work=disk_work).run(progress)

    def delete(self, image_id: str, *, owner: str | None = None) -> None:
        """Remove an image and its data; one that is absent is fine.

        :param owner: the project whose image it is, where that is known
        :raises ImageServiceUnavailable: when Glance stays silent; the image
            may be there or not
        :raises ImageServiceRefused: when we must not, or it is protected,
            or Glance would not show us an image of that project
        :raises ImageServiceError: when it is in use
        """
        try:
            self._retry.call(lambda: self._wire.delete(image_id))
        except errors.ImageGone:
            self._must_see(image_id, owner)

    def discard_unfinished(self, image_id: str, *,
                           owner: str | None = None) -> None:
        """Remove an image whose data was never whole; leave any other.

        :param owner: the project whose image it is, where that is known
        :raises ImageServiceError: as :meth:`get` and :meth:`delete`
        """
        image = self.get(image_id, owner=owner)
        if image is not None and image.status in upload_module.UNDER_WAY:
            self.delete(image_id, owner=owner)

    def _must_see(self, image_id: str, owner: str | None) -> None:
        """Tell an image that is gone from one that Glance hides from us.

        :raises ImageServiceRefused: when it may be hidden
        """
        if owner is not None:
            refuse_hidden(self._us or self._wire.who(), image_id, owner)
        LOG.debug('Image %s was not there', image_id)

    def _create(self, spec: image_model.ImageSpec) -> image_model.Image:
        try:
            return self._wire.post(spec)
        except errors.ImageServiceRefused as exc:
            if exc.status != http.HTTPStatus.FORBIDDEN:
                raise
            if not consistency_model.PROPERTIES.isdisjoint(spec.properties):
                return self._create_unmarked(spec)
            if spec.owner:
                raise _not_owner(spec.owner, exc) from exc
            raise
        except errors.ImageServiceError as exc:
            if not (isinstance(exc, errors.Retriable)
                    or exc.status == http.HTTPStatus.CONFLICT):
                raise
            image = self._wire.look(spec.image_id)
            if image is None or not _is_ours(image, spec):
                raise
            LOG.debug('Image %s was made although %s', spec.image_id, exc)
            return image

    def _create_unmarked(self, spec: image_model.ImageSpec
                         ) -> image_model.Image:
        """Make a record that does not say how consistent its image is.

        An operator may protect properties: it is a remark, and no more.

        :source: glance/api/property_protections.py; glance/api/v2/images.py
            create, which answers 403 for one of them
        """
        image = self._create(dataclasses.replace(spec, properties={
            name: value for name, value in spec.properties.items()
            if name not in consistency_model.PROPERTIES}))
        LOG.warning('Image %s does not say how consistent it is: Glance does '
                    'not let us set %s (see property_protection_file in '
                    'glance-api.conf)', spec.image_id,
                    consistency_model.PROPERTY)
        return image


def refuse_hidden(us: identity.Identity, image_id: str, owner: str) -> None:
    """Refuse to call an image gone that Glance may only hide from us.

    Glance says 404 of a private image of another project, too.

    :raises ImageServiceRefused: when it may be hidden
    :source: glance/policies/image.py get_image, glance/api/v2/policy.py
    """
    if (us.project_id in (None, owner) or ADMIN in (us.roles or ())):
        return
    raise errors.ImageServiceRefused(
        call='delete the image', status=None, image_id=image_id,
        reason=f'image {image_id} is of project {owner}, and Glance does not '
               f'say to one of project {us.project_id} whether it is there. '
               'Run "nova-snap recover" as an admin, or as a user of that '
               'project')


def _role(us: identity.Identity) -> str:
    """Name the command that gives us the role, where there are roles."""
    if us.user_id is None or us.project_id is None:
        return ''
    return ': ' + remedy.command(
        'openstack', 'role', 'add', '--user', us.user_id, '--project',
        us.project_id, SERVICE) + ' makes us one'


def _not_owner(owner: str, exc: errors.ImageServiceRefused | None
               ) -> errors.ImageServiceRefused:
    said = f': {exc.reason}' if exc else ''
    return errors.ImageServiceRefused(
        call=f'an image owned by project {owner}',
        status=exc.status if exc else None,
        reason='the credentials are of another project and have neither '
               'the role admin nor, where Glance\'s policy add_image '
               f'takes it, service{said}. Sign in to that project '
               f'(OS_PROJECT_ID={owner}), or with such a role')


def _is_ours(image: image_model.Image, spec: image_model.ImageSpec) -> bool:
    """Whether an image with our id is the one we asked for."""
    return (image.properties.get('instance_uuid')
            == spec.properties.get('instance_uuid'))
