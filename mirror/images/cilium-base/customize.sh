#!/bin/sh
# Slims the agent's root: what clang needs to compile C is not what the agent needs to compile BPF programs.
set -eu
root=$1
cd "$root"

ln -sf /usr/lib/llvm-19/bin/clang usr/local/bin/clang
# The agent programs rules through whichever iptables the node uses; nftables is what every kernel here has.
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    [ -e "usr/sbin/$name" ] || { echo "E: $name is missing in the root" >&2; exit 1; }
done

# Headers and libraries of C and C++, sanitizers and the like; clang's own headers stay.
rm -rf usr/include usr/lib/gcc/x86_64-linux-gnu usr/lib/llvm-19/lib/clang/19/lib usr/lib/llvm-19/lib/clang/19/share \
    usr/lib/llvm-19/share usr/share/perl usr/share/perl5 usr/share/zoneinfo usr/share/doc usr/share/man usr/share/locale
find usr/lib -name '*.a' -delete
for library in clang-19 asan tsan hwasan lsan ubsan; do
    rm -f usr/lib/x86_64-linux-gnu/lib$library.so.*
done
find usr/lib/llvm-19/bin -mindepth 1 ! -name 'clang*' -delete
find usr/bin -xtype l -delete

rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* var/cache/ldconfig/aux-cache var/cache/debconf/*-old \
    etc/machine-id var/lib/dbus
: > etc/hostname
: > etc/resolv.conf
