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

"""libvirt's errors, as its binding raises them."""

import libvirt


def refusal(code: int, message: str,
            domain: int = libvirt.VIR_FROM_NONE) -> libvirt.libvirtError:
    """Make an error with a code, without a libvirt that failed.

    :param domain: libvirt's number of the part that raises it
    """
    error = libvirt.libvirtError(message)
    # code, domain, message, level, str1, str2, str3, int1, int2
    error.err = (code, domain, message, libvirt.VIR_ERR_ERROR, '', '', '',
                 -1, -1)
    return error


def invalid(message: str) -> libvirt.libvirtError:
    """Make the error for what cannot be done in this state."""
    return refusal(libvirt.VIR_ERR_OPERATION_INVALID,
                   f'Requested operation is not valid: {message}')


def not_running() -> libvirt.libvirtError:
    """Make the error for a domain that has no QEMU process."""
    return invalid('domain is not running')


def closed() -> libvirt.libvirtError:
    """Make the error for a connection to a libvirtd that is gone."""
    return refusal(libvirt.VIR_ERR_INTERNAL_ERROR,
                   'internal error: client socket is closed',
                   libvirt.VIR_FROM_RPC)


def down() -> libvirt.libvirtError:
    """Make the error of a connection to a libvirtd that does not run."""
    return refusal(libvirt.VIR_ERR_SYSTEM_ERROR,
                   'Failed to connect socket to '
                   "'/var/run/libvirt/libvirt-sock': No such file or "
                   'directory', libvirt.VIR_FROM_RPC)


def no_domain(uuid: str) -> libvirt.libvirtError:
    """Make the error for a domain that libvirt does not know."""
    return refusal(libvirt.VIR_ERR_NO_DOMAIN, 'Domain not found: no domain '
                   f"with matching uuid '{uuid}'")


def planted() -> libvirt.libvirtError:
    """Make an error that has no other reason than a test's wish."""
    return refusal(libvirt.VIR_ERR_OPERATION_FAILED, 'planted')


def silent_agent(reason: str = 'planted') -> libvirt.libvirtError:
    """Make the error for a guest agent that does not answer."""
    return refusal(libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
                   f'Guest agent is not responding: {reason}')


def no_utf8() -> SystemError:
    """Make what the binding raises over bytes that are no UTF-8.

    :source: libvirt-python libvirt-override.c libvirt_virErrorFuncHandler
    """
    error = SystemError('<built-in function virDomainFSFreeze> returned a '
                        'result with an exception set')
    try:
        'internal error: 拒绝'.encode('gb2312').decode()
    except UnicodeDecodeError as exc:
        error.__cause__ = exc
    return error


def no_checkpoint(name: str) -> libvirt.libvirtError:
    """Refuse a checkpoint that the domain has not."""
    return refusal(libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT,
                   f"no domain checkpoint with matching name '{name}'")
