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

"""A paste filter in the place of keystonemiddleware: says who is asking.

Runs inside Glance and Cinder. The token is the identity itself, in clear
text: ``USER:PROJECT:ROLE,ROLE``. The token ``refused`` is no user. No token,
or any other (keystoneauth1's noauth sends ``notused``), is the default
identity of the paste file.
"""

import typing as ty

Environ = dict[str, ty.Any]
Application = ty.Callable[[Environ, ty.Any], ty.Any]

REFUSED = 'refused'


def filter_factory(global_conf: dict[str, str], *,
                   identity: str) -> ty.Callable[[Application], Application]:
    """Make the filter; ``identity`` is who asks without a token."""

    def make(application: Application) -> Application:
        def call(environ: Environ, start_response: ty.Any) -> ty.Any:
            token = environ.get('HTTP_X_AUTH_TOKEN', '')
            if token != REFUSED:
                if token.count(':') != 2:
                    token = identity
                user, project, roles = token.split(':')
                environ.update({
                    'HTTP_X_IDENTITY_STATUS': 'Confirmed',
                    'HTTP_X_USER_ID': user,
                    'HTTP_X_USER_DOMAIN_ID': 'default',
                    'HTTP_X_PROJECT_ID': project,
                    'HTTP_X_PROJECT_DOMAIN_ID': 'default',
                    'HTTP_X_ROLES': roles,
                })
            return application(environ, start_response)
        return call
    return make
