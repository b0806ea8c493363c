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

"""What blocks, kept away from eventlet's hub.

nova-compute may run all its threads in one: then a call that waits for a
disk or counts a hash holds up everything else, the heartbeat among it. Such
calls go to eventlet's pool of real threads. What runs there must not call
Nova's RPC, its database or its privileged calls, which belong to the hub.

Nor must it wait for a lock that the hub's threads have, too: all locks are
eventlet's, and of two real threads none wakes the other. So it signs in
nowhere (Nova has one plugin of keystoneauth1 for all its services, with a
lock), and starts no process (Python takes the locks of its libraries for each
fork).

:source: nova/utils.py tpool_wrap (tpool_execute before Nova 33);
    nova/service_auth.py get_auth_plugin; keystoneauth1/identity/base.py
    get_access; eventlet/semaphore.py Semaphore.release
"""

import collections.abc as cabc
import sys
import typing as ty

Target = ty.TypeVar('Target')
Result = ty.TypeVar('Result')


def _eventlet() -> ty.Any:
    """Return eventlet where it has replaced the threads, else None.

    Asked of eventlet itself: Nova says it under another name in each
    release.
    """
    patcher = sys.modules.get('eventlet.patcher')
    if patcher is None or not patcher.is_monkey_patched('thread'):
        return None
    import eventlet.tpool
    return eventlet


def wrap(target: Target) -> Target:
    """Let every method of an object run away from the hub."""
    eventlet = _eventlet()
    if eventlet is None:
        return target
    return ty.cast(Target, eventlet.tpool.Proxy(target))


def unwrap(target: ty.Any) -> ty.Any:
    """Return what is behind a proxy of eventlet's."""
    tpool = sys.modules.get('eventlet.tpool')
    if tpool is not None and isinstance(target, tpool.Proxy):
        return target._obj
    return target


def call(function: cabc.Callable[..., Result], *args: ty.Any,
         **kwargs: ty.Any) -> Result:
    """Call a function away from the hub and wait for its end."""
    eventlet = _eventlet()
    if eventlet is None:
        return function(*args, **kwargs)
    return ty.cast(Result, eventlet.tpool.execute(function, *args, **kwargs))
