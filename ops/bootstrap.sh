#!/usr/bin/env bash
# Debian packages, uv and .venv: what Python itself needs before ops/bootstrap.py can do the rest. Warm, it takes well under
# a second and says nothing. All it says goes to stderr, because `make -s env` is evaluated by shells.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/isthmus"
PYTHON=/usr/bin/python3
NOTES=.state/bootstrap
umask 022

say() { echo "    $*" >&2; }
fail() { echo "isthmus: $1. Fix: $2" >&2; exit 1; }
note() { # part, what was taken from where: said now, and again by `make up`
    mkdir -p "$NOTES"
    printf '%s\n' "$2" > "$NOTES/$1"
    say "$1: $2"
}

[ "$(id -u)" = 0 ] || fail "this needs root: it installs packages and starts machines" "run it as root, or with sudo"

packages() { sed -E 's/#.*//' ops/debian-packages.txt | awk 'NF {print $1}'; }

missing_packages() {
    local installed
    # shellcheck disable=SC2046  # one word a package
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' $(packages) 2>/dev/null | sed -n 's/^installed //p') || true
    packages | grep -vxF -f <(printf '%s\n' "$installed") || true
}

debian() {
    command -v dpkg-query > /dev/null || fail "this is no Debian" "install what ops/debian-packages.txt lists by hand"
    local missing unit log=.state/bootstrap/apt.log
    missing=$(missing_packages | xargs)
    [ -n "$missing" ] || return 0
    say "Debian packages: installing $missing"
    # Only what comes now is masked: a podman that was here before may be in use.
    for unit in $(sed -E 's/#.*//' ops/debian-packages.txt | awk -v m=" $missing " 'index(m, " " $1 " ") {$1 = ""; print}'); do
        mkdir -p /etc/systemd/system
        [ -e "/etc/systemd/system/$unit" ] || ln -s /dev/null "/etc/systemd/system/$unit"
    done
    mkdir -p "$NOTES"
    # shellcheck disable=SC2086
    { apt-get -o DPkg::Lock::Timeout=300 update &&
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing; } \
        > "$log" 2>&1 < /dev/null ||
        fail "apt could not install $missing: $(grep -m1 '^E:' "$log" || tail -n1 "$log"). Log: $PWD/$log" \
            "mend what apt says, then run it again"
    note debian "$missing from the Debian archive"
}

uv() {
    local pin version unfinished
    pin=$(sha256sum ops/uv.txt | cut -d' ' -f1)
    [ "$(cat "$CACHE/uv/pin" 2>/dev/null)" != "$pin" ] || return 0
    version=$(sed -nE 's/^uv==([^ ]+).*/\1/p' ops/uv.txt)
    mkdir -p "$CACHE"
    unfinished=$(mktemp -d "$CACHE/uv.XXXXXX")
    "$PYTHON" -m venv "$unfinished"
    "$unfinished/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --require-hashes --only-binary :all: \
        -r ops/uv.txt >&2 || fail "pip could not install uv $version" "check that this machine reaches PyPI, then run it again"
    echo "$pin" > "$unfinished/pin"
    # Another checkout may be at it too: whoever comes last wins, and both are the same.
    rm -rf "$CACHE/uv.old" && { [ ! -e "$CACHE/uv" ] || mv "$CACHE/uv" "$CACHE/uv.old"; }
    mv "$unfinished" "$CACHE/uv"
    rm -rf "$CACHE/uv.old"
    note uv "$version from PyPI, by hash"
}

venv() {
    local stamp
    stamp=$(printf '%s ' "$PWD" "$("$PYTHON" -V)" "$(cat uv.lock pyproject.toml | sha256sum)")
    [ "$(cat .venv/stamp 2>/dev/null)" != "$stamp" ] || return 0
    say "Python packages: installing what uv.lock pins"
    UV_CACHE_DIR="$CACHE/uv-cache" UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT=180 \
        "$CACHE/uv/bin/uv" sync --frozen --quiet --python "$PYTHON" >&2 ||
        fail "uv could not install what uv.lock pins" "check that this machine reaches PyPI, then run it again: it continues"
    echo "$stamp" > .venv/stamp
    note python "$(find .venv/lib/python3*/site-packages -maxdepth 1 -name '*.dist-info' | wc -l) packages of uv.lock from PyPI, by hash"
}

debian
[ -x "$PYTHON" ] || fail "there is no $PYTHON" "install Debian's python3"
"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' ||
    fail "$("$PYTHON" -V) is not supported" "use a Debian whose python3 is 3.11 to 3.13"
mkdir -p .state
exec 9> .state/bootstrap.lock
flock 9
uv
venv
