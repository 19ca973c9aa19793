#!/bin/bash
# Installs nbspd in the guest the way a user does: the Debian package when the host brought one, else from the source tree.
set -eu
here=/usr/local/lib/nbspd-lab
source=/usr/src/nbspd
shopt -s nullglob

packages=("$here"/nbspd_*.deb)
if [ ${#packages[@]} -gt 0 ]; then
    DEBIAN_FRONTEND=noninteractive dpkg --force-confold -i "${packages[0]}"
else
    mkdir -p /usr/lib/python3/dist-packages /usr/share/nbspd /etc/nbspd/rules.d /usr/lib/sysusers.d /usr/lib/tmpfiles.d
    rm -rf /usr/lib/python3/dist-packages/nbspd /usr/share/nbspd/bpf
    cp -r "$source/daemon" /usr/lib/python3/dist-packages/nbspd
    cp -r "$source/bpf" /usr/share/nbspd/bpf
    for name in nbsp nbspd; do
        printf '#!/usr/bin/python3\nimport sys\nfrom nbspd.cli.%s import main\nsys.exit(main())\n' "$name" > "/usr/sbin/$name"
        chmod 755 "/usr/sbin/$name"
    done
    for unit in "$source"/systemd/*.service "$source"/systemd/*.socket; do
        install -m 644 "$unit" /usr/lib/systemd/system/
    done
    for file in "$source"/systemd/*.sysusers; do install -m 644 "$file" "/usr/lib/sysusers.d/$(basename "$file" .sysusers).conf"; done
    for file in "$source"/systemd/*.tmpfiles; do install -m 644 "$file" "/usr/lib/tmpfiles.d/$(basename "$file" .tmpfiles).conf"; done
    systemd-sysusers
    systemd-tmpfiles --create
    systemctl daemon-reload
    python3 -m compileall -q /usr/lib/python3/dist-packages/nbspd
fi
