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


"""The libvirt of this node: its domains, and what happens to them."""

import collections.abc as cabc
import typing as ty
import urllib.parse

import libvirt

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import device_events as device_events_module
from nova_snap.hypervisor import domain as domain_module
from nova_snap.hypervisor import errors as hypervisor_errors
from nova_snap.hypervisor import events as events_module
from nova_snap.model import secret as secret_model

# What libvirt says of a domain that it does not know, and of a word that is
# no UUID.
UNKNOWN_CODES = frozenset((libvirt.VIR_ERR_NO_DOMAIN,
                           libvirt.VIR_ERR_INVALID_ARG))

# What a secret that has no UUID is looked up by.
# :source: libvirt docs/formatsecret.rst; Ceph's and iSCSI's
USAGES = {'passphrase': libvirt.VIR_SECRET_USAGE_TYPE_VOLUME,
          'ceph': libvirt.VIR_SECRET_USAGE_TYPE_CEPH,
          'iscsi': libvirt.VIR_SECRET_USAGE_TYPE_ISCSI}
SAVE_DIRECTORY = '/var/lib/libvirt/qemu/save'

MakeBell: ty.TypeAlias = cabc.Callable[[], clock_module.Bell]


class Host:
    """The domains of one libvirt.

    :param make_bell: makes what ends a wait early at an event; the clock's
        unless it is given
    """

    def __init__(self, connection: connection_module.Connection,
                 make_bell: MakeBell | None = None) -> None:
        self.connection = connection
        self._make_bell = make_bell or connection.clock.bell

    def version(self) -> connection_module.Version:
        """Return libvirt's version.

        :raises HypervisorError: when libvirt does not answer
        """
        return self.connection.version()

    def qemu_version(self) -> connection_module.Version:
        """Return the version of the QEMU that guests are started with.

        :raises HypervisorError: when libvirt does not answer
        """
        return self.connection.qemu_version()

    def lookup(self, instance: str) -> domain_module.Domain:
        """Find an instance by libvirt name or UUID (which is Nova's).

        :raises DomainGone: when there is none
        :raises HypervisorError: when libvirt does not answer
        """
        connection = self.connection.get()
        for call in ('lookupByUUIDString', 'lookupByName'):
            try:
                with hypervisor_errors.translated(instance, call):
                    found = getattr(connection, call)(instance)
                    return self.domain(found.UUIDString())
            except errors.HypervisorError as exc:
                if exc.code not in UNKNOWN_CODES:
                    raise
        raise errors.DomainGone(
            instance=instance, call='lookupByName',
            reason='no domain has this UUID or name')

    def domain(self, uuid: str) -> domain_module.Domain:
        """Return the domain of this UUID, which may be gone."""
        return domain_module.Domain(self.connection, uuid)

    def domains(self) -> list[domain_module.Domain]:
        """Return all domains, running or not."""
        with hypervisor_errors.translated(self.connection.uri,
                                          'listAllDomains'):
            return [self.domain(found.UUIDString())
                    for found in self.connection.get().listAllDomains()]

    def has_secret(self, secret: secret_model.Secret) -> bool:
        """Tell whether libvirt knows a secret.

        :raises HypervisorError: when libvirt does not say
        :source: virSecretLookupByUUIDString, virSecretLookupByUsage
        """
        connection = self.connection.get()
        owner = self.connection.uri
        try:
            if secret.uuid:
                with hypervisor_errors.translated(owner, 'secretLookup'):
                    connection.secretLookupByUUIDString(secret.uuid)
            else:
                with hypervisor_errors.translated(owner, 'secretLookup'):
                    connection.secretLookupByUsage(
                        USAGES.get(secret.kind, 0), secret.usage)
        except errors.HypervisorError as exc:
            if exc.code == libvirt.VIR_ERR_NO_SECRET:
                return False
            raise
        return True

    def save_directory(self) -> str | None:
        """Return where libvirt saves guests; None where that is not known.

        libvirt does not tell. It is not known for a libvirt of a user's, of
        another host, or behind a socket that is named.

        :source: libvirt src/qemu/qemu_conf.c virQEMUDriverConfigNew
        """
        address = urllib.parse.urlsplit(self.connection.uri)
        if (address.scheme == 'qemu' and address.path == '/system'
                and not address.netloc and not address.query):
            return SAVE_DIRECTORY
        return None

    def block_job_events(self, uuid: str) -> events_module.BlockJobEvents:
        """Listen to block jobs; to be entered before one is started."""
        return events_module.BlockJobEvents(self.connection, uuid,
                                            self._make_bell())

    def device_events(self,
                      uuid: str) -> device_events_module.DeviceEvents:
        """Listen to devices; to be entered before one is detached."""
        return device_events_module.DeviceEvents(self.connection, uuid,
                                                 self._make_bell())
