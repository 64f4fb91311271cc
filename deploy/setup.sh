#!/bin/sh
# Set up a fresh Debian machine: what is missing of the system's packages, then .venv with the locked Python ones.
# `deploy/setup.sh packages NAME…` installs system packages alone, which needs root.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

python() {
    for name in python3.11 python3 python3.12 python3.13; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
}

missing() {
    while read -r program package; do
        command -v "$program" >/dev/null || echo "$package"
    done <<LIST
bwrap bubblewrap
squid squid-openssl
socat socat
git git
ssh openssh-client
LIST
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    python=$(python)
    if [ -z "$python" ]; then
        echo python3 python3-venv
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    fi
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # Debian starts a squid of its own, on every interface, when its package is installed; rdev runs its own instead.
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then policy=; fi
    if [ -n "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 1' INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    apt-get install -q -y --no-install-recommends "$@"
    if [ -n "$policy" ]; then rm -f "$policy"; fi
    case " $* " in *" squid-openssl "*) disable_squid || echo "Debian's own squid starts at the next boot: disable it" >&2 ;; esac
}

disable_squid() {
    if command -v systemctl >/dev/null; then
        systemctl disable squid
    elif command -v update-rc.d >/dev/null; then
        update-rc.d squid disable
    fi
}

if [ "${1:-}" = packages ]; then
    shift
    install_packages "$@"
    exit
fi

packages=$(missing | tr '\n' ' ')
if [ -n "$packages" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "rdev needs these Debian packages, or what they are called here: $packages" >&2
        exit 1
    elif [ "$(id -u)" != 0 ]; then
        echo "rdev needs system packages that are not there. Run this, then try again:" >&2
        echo "  sudo $PWD/deploy/setup.sh packages $packages" >&2
        exit 1
    fi
    # shellcheck disable=SC2086  # a list of words
    install_packages $packages
fi

if ! .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    "$(python)" -m venv --clear .venv
fi
pip_install() { .venv/bin/python -m pip --disable-pip-version-check install --quiet "$@"; }
echo "Installing the locked Python packages into .venv (the Claude Code CLI among them, 170 MB)"
pip_install --require-hashes -r requirements.lock
pip_install --no-build-isolation --no-deps -e .
touch .venv/ready
