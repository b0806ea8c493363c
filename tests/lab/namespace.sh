#!/bin/sh
# namespace.sh FOLDER SHOW_KVM COMMAND...: run COMMAND with libvirt's folders
# replaced by FOLDER's. To be started by "unshare --mount --propagation
# unchanged": what is mounted here is seen by no other process.
set -eu
folder=$1 show_kvm=$2
shift 2

# Receive the mounts that the host makes later (a small file system for a
# test), pass them on to the guests' own namespaces, and send none back.
mount --make-rslave /
mount --make-rshared /

mount --bind "$folder/run" /run/libvirt
mount --bind "$folder/lib" /var/lib/libvirt
mount --bind "$folder/log" /var/log/libvirt
mount --bind "$folder/cache" /var/cache/libvirt
mount --bind "$folder/etc" /etc/libvirt

# A /dev/kvm that opens and does not work makes libvirt throw away what it
# knows of QEMU at every look: each start of a domain then takes a minute. One
# that works may be root's alone, and QEMU runs as a user of its own.
if [ -e /dev/kvm ]; then
    if [ "$show_kvm" = yes ]; then
        mount --bind "$folder/kvm" /dev/kvm
    else
        mount --bind "$folder/no-kvm" /dev/kvm
    fi
fi
exec "$@"
