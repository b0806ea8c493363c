#!/bin/bash
# DevStack's plugin nova_snap: nova-compute takes its snapshots by nova_snap.
#
# stack.sh, unstack.sh and clean.sh source it with a mode and a phase.
# https://docs.openstack.org/devstack/latest/plugins.html

# Nova finds a driver only in its own folder, and DevStack runs Nova from its
# checkout: there the wheel's copy of the shim does not lie.
function _nova_snap_shim {
    echo "$NOVA_DIR/nova/virt/nova_snap"
}

function install_nova_snap {
    # Within DevStack's constraints.
    setup_install "$NOVA_SNAP_DIR"
    ln -sfn "$NOVA_SNAP_DIR/nova/virt/nova_snap" "$(_nova_snap_shim)"
}

# DevStack makes NOVA_CPU_CONF of NOVA_CONF when it starts nova-compute.
function configure_nova_snap {
    local file
    for file in "$NOVA_CONF" "${NOVA_CPU_CONF:-}"; do
        if [[ -n "$file" && -e "$file" ]]; then
            iniset "$file" DEFAULT compute_driver "$NOVA_SNAP_COMPUTE_DRIVER"
        fi
    done
}

function cleanup_nova_snap {
    rm -f "$(_nova_snap_shim)"
}

if is_service_enabled n-cpu; then
    case "$1 ${2:-}" in
        'stack install')
            echo_summary 'Installing nova_snap'
            install_nova_snap
            ;;
        'stack post-config')
            echo_summary 'Configuring nova_snap'
            configure_nova_snap
            ;;
        'clean '*)
            cleanup_nova_snap
            ;;
    esac
fi
