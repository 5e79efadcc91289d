#!/bin/sh
# The unit is one that systemd accepts, is hardened, and leaves the server the system calls it lives on.
# Needs systemd-analyze (Debian package systemd); fails without it.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
unit=$root/systemd/headwater.service
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "FAIL systemd unit: $1"
    echo "systemd: 0 passed, 1 failed"
    exit 1
}

command -v systemd-analyze >/dev/null || fail "systemd-analyze is missing (Debian package systemd)"

# verify wants the program to be there: a stand-in, at a path of its own.
printf '#!/bin/sh\n' >"$scratch/headwater"
chmod +x "$scratch/headwater"
grep -q '^ExecStart=/usr/bin/headwater serve' "$unit" || fail "ExecStart does not start /usr/bin/headwater serve"
sed "s|^ExecStart=/usr/bin/headwater|ExecStart=$scratch/headwater|" "$unit" >"$scratch/headwater.service"

# What is said of other units of this machine is not ours.
said=$(systemd-analyze verify --man=no "$scratch/headwater.service" 2>&1) || fail "verify: $said"
case $said in *headwater*) fail "verify: $said" ;; esac

# It can fail: the same unit with a mistake in it.
sed 's/^Type=notify/Type=notifies/' "$scratch/headwater.service" >"$scratch/headwater-wrong.service"
said=$(systemd-analyze verify --man=no "$scratch/headwater-wrong.service" 2>&1) || true
case $said in *headwater-wrong*) ;; *) fail "verify accepts a unit with a mistake" ;; esac

# 0 is safe, 10 is unsafe; a service without any of this has 9.6.
exposure=$(systemd-analyze security --offline=true --no-pager "$scratch/headwater.service" 2>/dev/null |
    sed -n 's/.*exposure level for headwater.service: \([0-9]*\)\.[0-9].*/\1/p')
[ -n "$exposure" ] || fail "security: no exposure level"
[ "$exposure" -lt 3 ] || fail "security: exposure level $exposure, expected below 3"

for line in Type=notify NoNewPrivileges=yes ProtectSystem=strict StateDirectory=headwater PrivateTmp=yes \
    Restart=on-failure 'ExecReload=/bin/kill -HUP $MAINPID'; do
    grep -qxF "$line" "$unit" || fail "$line is missing"
done
for key in WatchdogSec LimitNOFILE LimitMEMLOCK TimeoutStopSec User; do
    grep -q "^$key=." "$unit" || fail "$key is missing"
done

# None of the groups that are denied may hold what the server lives on.
for group in $(sed -n 's/^SystemCallFilter=~//p' "$unit"); do
    for call in io_uring_setup io_uring_enter io_uring_register sched_setaffinity cachestat sendfile; do
        if systemd-analyze syscall-filter "$group" 2>/dev/null | grep -qw "$call"; then
            fail "SystemCallFilter denies $call ($group)"
        fi
    done
done
echo "ok   systemd unit: accepted, exposure level $exposure"
echo "systemd: 1 passed, 0 failed"
