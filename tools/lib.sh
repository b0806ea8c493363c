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

# Read by the scripts beside it: what the machine needs before Python can do
# the rest. Everything lies below $NOVA_SNAP_LAB; each function does nothing
# where its work is done already.
#
#   make_lab_dir          the folder itself, root's, 0755
#   install_packages      Debian packages
#   make_venv             $LAB_VENV: the checkout and its requirements
#   make_services_venv    $LAB_SERVICES: Glance, apart from the product
#   make_venvs            the two of them, at the same time
#   make_cinder_venv      $LAB_CINDER: Cinder and Keystone, for volumes
#   build_wheel FOLDER    FOLDER/dist: the checkout as it is installed

CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export NOVA_SNAP_LAB=${NOVA_SNAP_LAB:-/var/tmp/nova_snap-lab}
LAB_VENV=$NOVA_SNAP_LAB/venv
LAB_SERVICES=$NOVA_SNAP_LAB/services
LAB_CINDER=$NOVA_SNAP_LAB/cinder

# The services that answer 127.0.0.1 are never behind a proxy.
export no_proxy="${no_proxy:+$no_proxy,}127.0.0.1,localhost"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# Hypervisor and its tools; what pip needs to build libvirt-python and uWSGI;
# what the guest is made with.
LAB_PACKAGES=(
    qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-clients mount
    gcc libc6-dev libvirt-dev pkg-config python3-dev python3-venv
    cpio e2fsprogs kmod
)

# What volumes need beside it: a Ceph, QEMU's way to it, Cinder's bindings, its
# message queue and its database. Added to LAB_PACKAGES by whoever needs volumes.
VOLUME_PACKAGES=(
    ceph-mon ceph-mgr ceph-osd ceph-common qemu-block-extra
    python3-rados python3-rbd mariadb-server rabbitmq-server
)

# Seconds to wait for another apt or dpkg to finish.
LOCK_TIMEOUT=600

say() { printf '== %s\n' "$*" >&2; }

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    return 1
}

make_lab_dir() {
    if [ "$(id -u)" != 0 ]; then
        fail 'must be run as root: it starts a libvirtd of its own'
        return 1
    fi
    mkdir -p "$NOVA_SNAP_LAB" || return
    if [ -L "$NOVA_SNAP_LAB" ] || [ "$(stat -c %u "$NOVA_SNAP_LAB")" != 0 ]
    then
        fail "$NOVA_SNAP_LAB is not root's: set NOVA_SNAP_LAB to another"
        return 1
    fi
    # QEMU runs as a user of its own and must get through to its disks.
    chmod 0755 "$NOVA_SNAP_LAB"
}

# locked NAME COMMAND...: one of us at a time
locked() {
    local name=$1
    shift
    (
        flock -w "$LOCK_TIMEOUT" 9 ||
            fail "another process holds $NOVA_SNAP_LAB/$name.lock" || exit
        "$@"
    ) 9>"$NOVA_SNAP_LAB/$name.lock"
}

missing_packages() {
    local package
    for package in "${LAB_PACKAGES[@]}"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" \
            = installed ] || printf '%s\n' "$package"
    done
}

# apt-get waits for dpkg's lock by itself, for that of the lists it does not.
_apt_update() {
    local deadline=$((SECONDS + LOCK_TIMEOUT)) output
    until output=$(apt-get -q update 2>&1); do
        case $output in
        *'Could not get lock'*) ;;
        *) fail "apt-get update: $output" || return ;;
        esac
        [ "$SECONDS" -lt "$deadline" ] ||
            fail "apt-get update: $output" || return
        sleep 2
    done
}

_install_packages() {
    local -a missing
    mapfile -t missing < <(missing_packages)
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "installing ${missing[*]}"
    _apt_update || return
    # A package starts its services where nobody forbids it. 101 is "no".
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o "DPkg::Lock::Timeout=$LOCK_TIMEOUT" -o Dpkg::Use-Pty=0 \
        install --no-install-recommends "${missing[@]}" \
        >"$NOVA_SNAP_LAB/packages.log" 2>&1 </dev/null ||
        fail "apt-get install: see $NOVA_SNAP_LAB/packages.log"
}

install_packages() {
    make_lab_dir && locked packages _install_packages
}

# git, which pbr asks for the version, must trust a checkout that is not
# root's; said for this one process, not in anybody's configuration.
_git_trusts_checkout() {
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory \
        GIT_CONFIG_VALUE_0=$CHECKOUT "$@"
}

# _venv_is_current FOLDER STAMP
_venv_is_current() {
    [ -x "$1/bin/python" ] && [ "$(cat "$1/stamp" 2>/dev/null)" = "$2" ]
}

# _new_venv FOLDER: empty
_new_venv() {
    say "making $1"
    # Debian's own Python: libvirt-dev and libpython belong to it.
    /usr/bin/python3 -m venv --clear "$1"
}

# _pip FOLDER ARGUMENTS...
_pip() {
    local folder=$1
    shift
    _git_trusts_checkout "$folder/bin/pip" install -q "$@" \
        >"$folder.log" 2>&1 </dev/null || {
        tail -n 20 "$folder.log" >&2
        fail "pip install $*: see $folder.log"
    }
}

_make_venv() {
    local stamp
    stamp=$(cd "$CHECKOUT" && pwd && sha256sum requirements.txt \
        test-requirements.txt setup.cfg) || return
    _venv_is_current "$LAB_VENV" "$stamp" && return
    _new_venv "$LAB_VENV" || return
    _pip "$LAB_VENV" -e "$CHECKOUT" \
        -r "$CHECKOUT/test-requirements.txt" || return
    printf '%s\n' "$stamp" >"$LAB_VENV/stamp"
}

make_venv() {
    make_lab_dir && locked venv _make_venv
}

_make_services_venv() {
    local requirements=$CHECKOUT/tests/lab/requirements.txt stamp uwsgi
    stamp=$(sha256sum <"$requirements") || return
    _venv_is_current "$LAB_SERVICES" "$stamp" && return
    _new_venv "$LAB_SERVICES" || return
    uwsgi=$(grep -i '^uwsgi==' "$requirements")
    grep -vi '^uwsgi==' "$requirements" >"$LAB_SERVICES/requirements.txt"
    _pip "$LAB_SERVICES" -r "$LAB_SERVICES/requirements.txt" || return
    # uWSGI is linked to one libpython: never one that pip has kept from
    # another Python of the same version.
    UWSGI_PROFILE=pyonly _pip "$LAB_SERVICES" --no-cache-dir --no-deps \
        --no-binary uWSGI "$uwsgi" || return
    printf '%s\n' "$stamp" >"$LAB_SERVICES/stamp"
}

make_services_venv() {
    make_lab_dir && locked services _make_services_venv
}

_make_cinder_venv() {
    local requirements=$CHECKOUT/tests/lab/cinder-requirements.txt stamp suffix
    stamp=$(sha256sum <"$requirements") || return
    _venv_is_current "$LAB_CINDER" "$stamp" && return
    _new_venv "$LAB_CINDER" || return
    # Of Cinder little is imported: to compile all of it takes longer.
    _pip "$LAB_CINDER" --no-compile -r "$requirements" || return
    # The bindings to Ceph are in no package index. Of Debian's Python
    # packages these two alone, which are made for the same Python. They may
    # be installed after this.
    suffix=$("$LAB_CINDER/bin/python" -c \
        'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))') ||
        return
    ln -s "/usr/lib/python3/dist-packages/"{rados,rbd}"$suffix" \
        "$LAB_CINDER"/lib/python3.*/site-packages/ || return
    printf '%s\n' "$stamp" >"$LAB_CINDER/stamp"
}

make_cinder_venv() {
    make_lab_dir && locked cinder _make_cinder_venv
}

# Both at once: each of them keeps one core busy for a minute.
make_venvs() {
    local services
    make_services_venv &
    services=$!
    make_venv || {
        wait "$services"
        return 1
    }
    wait "$services"
}

# _copy_checkout FOLDER: its files, committed or not, as a repository of their
# own: what a build leaves behind stays there, and git trusts it.
_copy_checkout() {
    rm -rf "$1" && mkdir -p "$1" || return
    (cd "$CHECKOUT" &&
        _git_trusts_checkout git ls-files -z --cached --others \
            --exclude-standard |
        tar --create --null --files-from=- --ignore-failed-read |
        tar --extract --directory="$1") || return
    git -C "$1" init -q && git -C "$1" add --all &&
        git -C "$1" -c user.name=lab -c user.email=lab@localhost \
            commit -q -m 'What is tried'
}

# build_wheel FOLDER: its one wheel is in FOLDER/dist afterwards
build_wheel() {
    say 'building the wheel'
    _copy_checkout "$1/checkout" && rm -rf "$1/dist" || return
    "$LAB_VENV/bin/pip" wheel -q --no-deps --wheel-dir "$1/dist" \
        "$1/checkout" >"$1/log" 2>&1 || {
        tail -n 20 "$1/log" >&2
        fail "pip wheel: see $1/log"
    }
}
