#!/bin/sh
# Turns a minimal Debian into a lab machine. mmdebstrap runs it as --customize-hook with the root folder as $1, before
# it packs the tar. Everything here depends on nothing but the packages, so equal packages give an equal tar.
set -eu
root=$1
units=$root/etc/systemd/system

# A container has no devices to settle and no consoles to log in at, and the lab decides when packages change.
for unit in \
    systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service \
    systemd-udev-settle.service getty@.service getty.target console-getty.service serial-getty@.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    systemd-networkd-wait-online.service systemd-resolved.service systemd-timesyncd.service \
    proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount sys-kernel-debug.mount sys-kernel-tracing.mount dev-mqueue.mount dev-hugepages.mount \
    systemd-modules-load.service systemd-remount-fs.service; do
    ln -sf /dev/null "$units/$unit"
done
# The roles enable what a machine is for; until then nothing may listen or claim an address.
for unit in haproxy keepalived strongswan; do
    rm -f "$units/multi-user.target.wants/$unit.service"
done

# Each machine is somebody: its key and machine-id are made at its first start. One key, of the kind that takes no time:
# RSA's costs each machine half a second of a processor, while all of them start.
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id"
: > "$root/etc/machine-id"
mkdir -p "$units/ssh.service.d"
cat > "$units/ssh.service.d/host-keys.conf" <<'UNIT'
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c '[ -e /etc/ssh/ssh_host_ed25519_key ] || exec ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
ExecStartPre=/usr/sbin/sshd -t
UNIT
mkdir -p "$root/etc/ssh/sshd_config.d"
cat > "$root/etc/ssh/sshd_config.d/lab.conf" <<'CONF'
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
HostKey /etc/ssh/ssh_host_ed25519_key
CONF

# The kubelet hands volumes on to pods, which needs a root that shares its mounts.
cat > "$units/make-rshared.service" <<'UNIT'
[Unit]
Description=Share the mounts of the root with what starts later
DefaultDependencies=no
Before=sysinit.target containerd.service kubelet.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/mount --make-rshared /
[Install]
WantedBy=sysinit.target
UNIT

# These kernel settings have no namespace: written in a machine they would change the host (one of them until its next
# reboot). So the machine gets private files in their place, before anything that writes them starts.
cat > "$root/usr/local/sbin/shield-sysctls" <<'SCRIPT'
#!/bin/sh
set -eu
shield=/run/shielded-sysctls
mkdir -p "$shield"
for key in kernel/panic kernel/panic_on_oops kernel/pid_max kernel/timer_migration kernel/unprivileged_bpf_disabled \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes vm/overcommit_memory vm/panic_on_oom \
    fs/file-max fs/nr_open fs/protected_fifos fs/protected_hardlinks fs/protected_regular fs/protected_symlinks \
    fs/inotify/max_user_instances fs/inotify/max_user_watches; do
    [ -e "/proc/sys/$key" ] || continue
    private=$shield/$(echo "$key" | tr / .)
    # A restart of this unit must not stack a second file on the first.
    [ ! -e "$private" ] || continue
    cat "/proc/sys/$key" > "$private"
    mount --bind "$private" "/proc/sys/$key"
done
SCRIPT
chmod 755 "$root/usr/local/sbin/shield-sysctls"
cat > "$units/shield-sysctls.service" <<'UNIT'
[Unit]
Description=Keep the host's kernel settings out of this machine's reach
DefaultDependencies=no
After=make-rshared.service
Before=systemd-sysctl.service sysinit.target containerd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/shield-sysctls
[Install]
WantedBy=sysinit.target
UNIT
mkdir -p "$units/sysinit.target.wants"
for unit in make-rshared shield-sysctls; do
    ln -sf "/etc/systemd/system/$unit.service" "$units/sysinit.target.wants/$unit.service"
done

# A machine's journal lives in memory and stays small: the lab's disk is the host's.
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n' > "$root/etc/systemd/journald.conf.d/lab.conf"

# podman binds its own files over these, and a tar may not carry what differs between builds.
: > "$root/etc/hostname"
: > "$root/etc/resolv.conf"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' > "$root/etc/hosts"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/var/cache/ldconfig/aux-cache \
    "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/var/cache/debconf/*-old
find "$root/usr" -xdev -name '__pycache__' -type d -prune -exec rm -rf {} +
# Ansible's first module on each new machine would compile Python's library. Without a random hash seed, so that equal
# packages give equal bytecode; by their sources' hashes, which no times differ from.
PYTHONHASHSEED=0 chroot "$root" /usr/bin/python3 -m compileall -q --invalidation-mode checked-hash /usr/lib/python3.11 \
    /usr/lib/python3/dist-packages
