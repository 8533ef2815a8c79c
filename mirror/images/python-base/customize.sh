#!/bin/sh
# Takes out what no Python program opens, and adds the few files that installing the packages would have made.
set -eu
root=$1
cd "$root"

ln -sf python3.11 usr/bin/python3
printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n' > etc/passwd
printf 'root:x:0:\nnonroot:x:65532:\n' > etc/group
printf 'passwd: files\ngroup: files\nhosts: files dns\n' > etc/nsswitch.conf
printf '127.0.0.1 localhost\n' > etc/hosts
: > etc/resolv.conf
: > etc/hostname

find usr/bin usr/sbin bin sbin -mindepth 1 ! -name python3 ! -name python3.11 -delete
rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/perl5 usr/share/zoneinfo usr/share/gdb usr/share/gcc \
    usr/share/lintian usr/share/debconf usr/share/dpkg usr/share/polkit-1 usr/share/bash-completion usr/share/pixmaps \
    usr/lib/python3.11/lib2to3 usr/lib/python3.11/pydoc_data usr/lib/python3.11/ensurepip usr/lib/dpkg usr/libexec \
    usr/lib/valgrind usr/lib/x86_64-linux-gnu/perl-base usr/lib/x86_64-linux-gnu/gconv usr/lib/systemd lib/systemd \
    var/log/apt boot

# Each process would compile what it imports of Python's own library anew: nothing is written in a pod. Unchecked, as sources
# in an image can't change; without a random hash seed, so that equal packages give equal bytecode.
PYTHONHASHSEED=0 chroot . /usr/bin/python3.11 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.11
