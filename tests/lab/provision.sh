#!/bin/sh
# Makes a plain Debian 12 into the lab's guest. One script for the QEMU lab (tests/lab/image.py) and the Vagrantfile.
#
#   provision.sh --packages    prints the packages of the guest, one a line
#   provision.sh --configure   settles a root file system in which they are installed already
#   provision.sh               does both on a running machine, as root
set -eu

packages() {
    sed -e 's/#.*//' -e '/^[[:space:]]*$/d' -e 's/[[:space:]]\{1,\}/\n/g' <<END | sed '/^$/d'
systemd systemd-sysv dbus udev kmod iproute2 procps util-linux          # a host as users have it
sudo openssh-server openssh-client curl netcat-openbsd                  # and its ways in
python3 python3-bpfcc python3-psutil python3-pyroute2 python3-click     # what nbspd depends on
python3-yaml python3-systemd python3-cryptography python3-rich
python3-pytest python3-hypothesis                                       # tests that run inside
postgresql pgbouncer squid cron at                                      # the programs of the example rules, and brokers
gcc libc6-dev strace                           # the forbidden acts are small C programs
acl attr e2fsprogs                                                      # what they act on
END
}

configure() {
    echo nbspd-lab > /etc/hostname
    printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 nbspd-lab\n' > /etc/hosts
    printf '[Match]\nName=eth0\n\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' > /etc/systemd/network/eth0.network
    echo '/dev/vda / ext4 defaults 0 1' > /etc/fstab
    passwd --quiet --delete root
    id alice > /dev/null 2>&1 || useradd --create-home --shell /bin/bash alice

    # Tests start the services they need; a boot that starts all of them takes twice as long under emulation.
    for unit in postgresql pgbouncer squid ssh cron atd apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \
                e2scrub_reap fstrim.timer dpkg-db-backup.timer systemd-networkd-wait-online sysstat; do
        systemctl disable --quiet "$unit" 2> /dev/null || true
    done
    for unit in systemd-networkd-wait-online.service systemd-update-utmp-runlevel.service getty@tty1.service \
                serial-getty@ttyS0.service e2scrub_reap.service systemd-firstboot.service; do
        systemctl mask --quiet "$unit"
    done
    systemctl enable --quiet systemd-networkd

    # Every daemon-reload starts all generators: three seconds under emulation for nothing that a guest has.
    mkdir -p /etc/systemd/system-generators
    for name in cryptsetup getty gpt-auto hibernate-resume integritysetup rc-local system-update veritysetup sysv; do
        ln -sf /dev/null "/etc/systemd/system-generators/systemd-$name-generator"
    done
}

case "${1:-all}" in
    --packages) packages ;;
    --configure) configure ;;
    all)
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q
        packages | xargs apt-get install -q -y --no-install-recommends
        id alice > /dev/null 2>&1 || useradd --create-home --shell /bin/bash alice
        ;;
    *) echo "provision.sh: unknown argument $1; say --packages, --configure or nothing" >&2; exit 2 ;;
esac
