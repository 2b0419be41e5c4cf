#!/usr/bin/env bash
# Mobile IP on this machine's devices: home agent, foreign agent and mobile node are three
# processes on TAP devices; this machine pings the node while it is carried from one bridge
# to the other and back.
#
#   bash examples/mobile-ip-taps.sh
#
#   this machine 10.1.0.9 ── [br-home] ── ha0 = mipagent home     10.1.0.1
#                                │  └──── fa0 = mipagent foreign  10.1.0.2 ┐
#             mn0 ─ ─ ─ ─ ─ ─ ─ ─┘        fa1 ═══ [br-cell]       10.3.0.1 ┘
#             mipagent mobile 10.1.0.71     └ ─ ─ ─ mn0
#
# As root, or as anybody where user namespaces are allowed; always in a network namespace
# of its own, so nothing is left behind. What can't be done here is told in a line that
# starts with SKIPPED.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
PATH=$PATH:/usr/sbin:/sbin

skip() {
    echo "SKIPPED mobile-ip-taps: $*"
    exit 0
}
for tool in ip unshare ping; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done

# The program: MIPAGENT if set, else what cargo makes of this source.
if [[ -z ${MIPAGENT:-} ]]; then
    (cd "$top" && cargo build --release --quiet --package mipagent)
    MIPAGENT=${CARGO_TARGET_DIR:-$top/target}/release/mipagent
fi
export MIPAGENT

if [[ -z ${IN_NAMESPACE:-} ]]; then
    flags=-n
    [[ $(id -u) == 0 ]] || flags=-Urn
    unshare $flags true 2>/dev/null || skip "no network namespace is allowed"
    IN_NAMESPACE=1 exec unshare $flags bash "$0" "$@"
fi

work=$(mktemp -d)
pids=()
daemons=()
cleanup() {
    local status=$?
    trap - EXIT
    for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if ((status != 0)); then
        for f in "$work"/*.log; do sed "s|^|$(basename "$f" .log): |" "$f" | tail -40; done
    fi
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

for b in home cell; do
    ip link add "br-$b" type bridge forward_delay 0 mcast_snooping 0 2>"$work/ip.log" ||
        skip "no bridges: $(cat "$work/ip.log")"
    ip link set "br-$b" up
done
ip addr add 10.1.0.9/24 dev br-home
for t in ha0:home fa0:home fa1:cell mn0:home; do
    ip tuntap add dev "${t%:*}" mode tap 2>"$work/ip.log" || skip "no TAP: $(cat "$work/ip.log")"
    ip link set "${t%:*}" master "br-${t#*:}" up
done

key="[SPI 257]
Key = 00112233445566778899aabbccddeeff"
cat >"$work/ha.conf" <<END
[Advertisements le0]
HomeAgent = yes
ForeignAgent = no
AdvLifetime = 3
$key
[Address 10.1.0.71]
Type = node
SPI = 257
END
cat >"$work/ha.vt" <<END
add_drv vtunl; plumb le0 tap ha0; ifconfig le0 10.1.0.1 netmask 255.255.255.0 up
plumb tunnel from 10.1.0.1; ifconfig ip0 10.1.0.1 192.0.2.1 up
END
cat >"$work/fa.conf" <<END
[Advertisements le1]
HomeAgent = no
ForeignAgent = yes
CareOfAddress = 10.1.0.2
AdvLifetime = 3
END
cat >"$work/fa.vt" <<END
add_drv vtunl; plumb le0 tap fa0; ifconfig le0 10.1.0.2 netmask 255.255.255.0 up
plumb le1 tap fa1; ifconfig le1 10.3.0.1 netmask 255.255.255.0 up
plumb tunnel from 10.1.0.2; ifconfig ip0 10.1.0.2 192.0.2.1 up
END
cat >"$work/mn.conf" <<END
$key
[Node]
HomeAddress = 10.1.0.71/24
HomeAgent = 10.1.0.1
SPI = 257
END
echo 'add_drv vtunl; plumb le0 tap mn0' >"$work/mn.vt"

start() { # start NAME ROLE
    "$MIPAGENT" "$2" --config "$work/$1.conf" --setup "$work/$1.vt" --status "$work/$1.json" \
        --seconds 120 >"$work/$1.log" 2>&1 &
    pids+=("$!")
    daemons+=("$!")
}
start ha home
start fa foreign
start mn mobile

# until WORDS FILE: the status or log has them, within half a minute.
until_there() {
    for _ in {1..300}; do
        if grep -qs -- "$1" "$2"; then return; fi
        for p in "${daemons[@]}"; do
            kill -0 "$p" 2>/dev/null || { echo "a daemon has ended"; return 1; }
        done
        sleep 0.1
    done
    echo "no \`$1\` in $(basename "$2")"
    return 1
}
until_there '"where": "home"' "$work/mn.json"
echo "the mobile node is at home"
ping -q -i 0.2 -c 3 -W 2 10.1.0.71 >"$work/ping.log" || { cat "$work/ping.log"; exit 1; }
ping -n -D -i 0.2 -c 600 10.1.0.71 >"$work/pings.log" 2>&1 &
ping=$!
pids+=("$ping")

ip link set mn0 master br-cell
echo "it is carried to the other bridge"
until_there '"care_of": "10.1.0.2"' "$work/mn.json"
until_there '10.1.0.71' "$work/fa.json"
"$MIPAGENT" stat "$work/ha.json"
"$MIPAGENT" stat "$work/fa.json"
ping -q -i 0.2 -c 5 -W 2 10.1.0.71 >"$work/ping.log" || { cat "$work/ping.log"; exit 1; }
echo "pings reach it there: $(grep -o '[0-9]* received' "$work/ping.log")"

ip link set mn0 master br-home
echo "it is carried back"
until_there 'deregistered' "$work/mn.log"
ping -q -i 0.2 -c 5 -W 2 10.1.0.71 >"$work/ping.log" || { cat "$work/ping.log"; exit 1; }
echo "pings reach it at home: $(grep -o '[0-9]* received' "$work/ping.log")"
kill -INT "$ping" && wait "$ping" || true
echo "all the while: $(grep -o '[0-9]* received' "$work/pings.log")"
