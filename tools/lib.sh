# shellcheck shell=bash
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

# Read by the scripts of this folder and of bench: what has to be so before
# Python can do the rest, which is in tests/stages. It goes to the checkout and
# sets PYTHON.

set -u
umask 022
# What the caller is signed in to is not for us.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV "${!OS_@}"
export LC_ALL=C.UTF-8
# The services that answer 127.0.0.1 are never behind a proxy.
export no_proxy="${no_proxy:+$no_proxy,}127.0.0.1,localhost"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

SCRIPT=$(realpath "$0") || exit
CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit
cd "$CHECKOUT" || exit
# git, which tells pbr and reno the version, must trust a checkout of another
# user; said for these processes, not in a configuration.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory \
    GIT_CONFIG_VALUE_0=$CHECKOUT

# Print the comment that a script begins with.
usage() { sed -n '14,/^$/s/^# \{0,1\}//p' "$SCRIPT"; }

# Debian's own Python comes first: libvirt-dev and libpython belong to it.
find_python() {
    local python
    for python in "${PYTHON:-/usr/bin/python3}" python3; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
                2>/dev/null; then
            PYTHON=$python
            return
        fi
    done
    printf '%s: needs Python 3.10 or newer, in PATH or named by PYTHON\n' \
        "${0##*/}" >&2
    return 1
}

find_python || exit
# stestr would take it for the Python of the tests.
export -n PYTHON
