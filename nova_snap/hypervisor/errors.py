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

"""libvirt's errors become ours here, and nowhere else."""

import collections.abc as cabc
import contextlib

import libvirt

from nova_snap import errors

AGENT_CODES = frozenset(
    getattr(libvirt, name) for name in (
        'VIR_ERR_AGENT_UNRESPONSIVE', 'VIR_ERR_AGENT_UNSYNCED',
        'VIR_ERR_AGENT_COMMAND_TIMEOUT', 'VIR_ERR_AGENT_COMMAND_FAILED')
    if hasattr(libvirt, name))
# What the agent itself says no to comes as an "internal error" before libvirt
# 11.2, and what it was never asked as "invalid" or "unsupported".
# :source: libvirt src/qemu/qemu_agent.c qemuAgentCheckError
AGENT_CALLS = frozenset(('fsFreeze', 'fsThaw', 'getTime', 'setTime',
                         'qemuAgentCommand'))

# What the binding raises: its own error, or, over bytes that are no UTF-8 (of
# a guest's agent, of a name), the decoder's. With an error handler registered
# it is Python that finds the decoder's, and calls that a SystemError.
# :source: libvirt-python libvirt-utils.h libvirt_constcharPtrWrap;
#     libvirt-override.c libvirt_virErrorFuncHandler
# The last one is Python's, about an agent's answer that has brackets without
# end.
RAISED = (libvirt.libvirtError, UnicodeError, SystemError, RecursionError)


@contextlib.contextmanager
def translated(instance: str, call: str) -> cabc.Iterator[None]:
    """Turn what libvirt raises at ``call`` into an error of ours.

    :raises DomainGone: when libvirt does not know the domain (any more)
    :raises ThawFailed: when it does not thaw
    :raises QuiesceFailed: when it does not do another part of its
    :raises HypervisorError: for everything else; ``code`` is libvirt's, None
        where the binding could not pass the error on
    :source: libvirt/virterror.h
    """
    try:
        yield
    except RAISED as exc:
        code = (exc.get_error_code() if isinstance(exc, libvirt.libvirtError)
                else None)
        kind = errors.HypervisorError
        if code == libvirt.VIR_ERR_NO_DOMAIN:
            kind = errors.DomainGone
        elif call == 'fsThaw':
            kind = errors.ThawFailed
        elif code in AGENT_CODES or call in AGENT_CALLS:
            kind = errors.QuiesceFailed
        raise kind(instance=instance, call=call, reason=_reason(exc),
                   code=code) from exc


def _reason(exc: Exception) -> str:
    """Return what was said, also where its bytes are no UTF-8."""
    for one in (exc, exc.__cause__, exc.__context__):
        if isinstance(one, UnicodeDecodeError):
            return one.object.decode(errors='backslashreplace')
    return str(exc)
