#!/usr/bin/env bash
# A real tunnel: two network namespaces joined by a veth pair, in each a vtunlconf on a
# TUN device. Through the tunnel go pings, a UDP flow and 100 MB of TCP in both
# directions; on the wire only IP protocol 4 is seen.
#
#   bash examples/netns-tunnel.sh [MEGABYTES]
#
#   [ns a]  10.1.0.1  tun0 = vtunlconf tunnel-a.vt       tunnel-b.vt = tun0  10.2.0.1  [ns b]
#              └─ veth 10.9.0.1 ════════ protocol 4 ════════ 10.9.0.2 veth ─┘
#
# As root, or as anybody where user namespaces are allowed: then the script runs itself
# again inside `unshare -Urn`. Nothing is left behind: what it made goes with its processes.
# What can't be done here is told in a line that starts with SKIPPED.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
megabytes=${1:-100}
PATH=$PATH:/usr/sbin:/sbin

skip() {
    echo "SKIPPED netns-tunnel: $*"
    exit 0
}
for tool in ip unshare nsenter ping; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done

# The program: VTUNLCONF if set, else what cargo makes of this source.
if [[ -z ${VTUNLCONF:-} ]]; then
    (cd "$top" && cargo build --release --quiet --package vtunlconf)
    target=${CARGO_TARGET_DIR:-$top/target}
    VTUNLCONF=$target/release/vtunlconf
fi
export VTUNLCONF

if [[ $(id -u) != 0 ]]; then
    unshare -Urn true 2>/dev/null || skip "not root, and user namespaces are forbidden"
    echo "not root: in a user namespace"
    exec unshare -Urn bash "$0" "$megabytes"
fi

work=$(mktemp -d)
pids=()
cleanup() {
    local status=$?
    trap - EXIT
    # The namespaces live as long as their holders.
    for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if ((status != 0)); then
        for f in "$work"/*.log; do
            [[ -s $f ]] && sed "s|^|$(basename "$f" .log): |" "$f" | tail -40
        done
    fi
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# hold NAME: a namespace, held open by a sleeping process.
hold() {
    unshare -n sleep infinity 2>"$work/hold.log" &
    local pid=$!
    pids+=("$pid")
    # Until it is in a namespace of its own.
    for _ in {1..1200}; do
        local ns
        ns=$(readlink "/proc/$pid/ns/net" 2>/dev/null || true)
        if [[ -n $ns && $ns != "$(readlink /proc/self/ns/net)" ]]; then
            declare -g "$1=$pid"
            return
        fi
        kill -0 "$pid" 2>/dev/null || skip "no network namespace: $(cat "$work/hold.log")"
        sleep 0.05
    done
    skip "no network namespace"
}
on() { # on PID COMMAND..
    local pid=$1
    shift
    nsenter -n -t "$pid" "$@"
}
fail() {
    echo "FAILED: $*"
    exit 1
}
ok() {
    echo "ok: $*"
}

hold a
hold b

# ---- the wire and what Linux routes -----------------------------------------------------
on "$a" ip link add veth0 type veth peer name veth0 netns "$b" 2>"$work/veth.log" ||
    skip "no veth pair: $(cat "$work/veth.log")"
machine() { # machine PID OWN OTHER: numbers 1 and 2
    local pid=$1 own=$2 other=$3
    on "$pid" sh -c "
        set -e
        echo 1 > /proc/sys/net/ipv4/ip_forward
        for d in all default; do echo 1 > /proc/sys/net/ipv6/conf/\$d/disable_ipv6; done 2>/dev/null || true
        ip link set lo up
        ip addr add 10.$own.0.1/32 dev lo
        ip addr add 10.9.0.$own/24 dev veth0
        ip link set veth0 up
        ip tuntap add tun0 mode tun
        ip addr add 172.16.$own.1 peer 172.16.$own.2 dev tun0
        ip link set tun0 up mtu 1500 txqueuelen 5000
        ip route add 172.16.$other.0/24 via 10.9.0.$other
        ip route add 10.$other.0.0/16 dev tun0 src 10.$own.0.1
    "
}
machine "$a" 1 2 2>"$work/machine.log" || skip "this host refuses: $(cat "$work/machine.log")"
machine "$b" 2 1

# ---- the two ends -----------------------------------------------------------------------
start() { # start NAME PID
    nsenter -n -t "$2" "$VTUNLCONF" "$here/tunnel-$1.vt" >"$work/vtunlconf-$1.log" 2>&1 &
    pids+=("$!")
    declare -g "shell_$1=$!"
    for _ in {1..600}; do
        grep -q '^ready$' "$work/vtunlconf-$1.log" && return
        kill -0 "$!" 2>/dev/null || break
        sleep 0.1
    done
    if grep -q '/dev/net/tun' "$work/vtunlconf-$1.log"; then
        skip "no TUN device: $(grep -m1 error "$work/vtunlconf-$1.log")"
    fi
    fail "vtunlconf $1 is not ready"
}
start a "$a"
start b "$b"
grep -v '^ready$' "$work/vtunlconf-a.log"

if command -v dumpcap >/dev/null; then
    # Everything on the wire. (tcpdump can't run in a user namespace: it insists on
    # changing groups.) Not through `on`: the signal below is for dumpcap itself.
    mkfifo "$work/said"
    nsenter -n -t "$a" dumpcap -q -P -s 64 -i veth0 -w "$work/wire.pcap" 2>"$work/said" &
    wire=$!
    pids+=("$wire")
    exec {said}<"$work/said"
    grep -q '^File:' <&"$said" || fail "dumpcap does not start"
else
    echo "SKIPPED what is on the wire: dumpcap is not installed"
    wire=
fi

# ---- ping -------------------------------------------------------------------------------
# One at a time: of several, ping waits for the last no longer than the others took.
for _ in {1..20}; do
    on "$a" ping -c 1 -W 60 10.2.0.1 >>"$work/ping.log" || fail "ping a to b"
    on "$b" ping -c 1 -W 60 -s 1400 10.1.0.1 >>"$work/ping.log" || fail "ping b to a"
done
half=$(sed -n 's/.* time=\(.*\)/\1/p' "$work/ping.log" | sort -n | sed -n 20p)
ok "ping: 20 each way, half of them within $half"

# ---- UDP and TCP ------------------------------------------------------------------------
if command -v python3 >/dev/null; then
    cat >"$work/flow.py" <<'PY'
"""flow.py udp-in|udp-out|tcp-in|tcp-out ADDRESS PORT [FILE]: prints how much and its hash."""
import hashlib, socket, sys

what, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
digest, count = hashlib.sha256(), 0
if what == "udp-in":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind((address, port))
    s.settimeout(60)
    print("listening", flush=True)
    while True:
        data, peer = s.recvfrom(65536)
        if data == b"end":
            break
        digest.update(data)
        count += 1
        if count % 16 == 0:  # the sender is never far ahead: no queue overflows
            s.sendto(b"%d" % count, peer)
elif what == "udp-out":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(60)
    came = 0
    for i in range(2000):
        while i - came >= 64:
            came = int(s.recv(100))
        data = i.to_bytes(4, "big") * (1 + i % 340)
        s.sendto(data, (address, port))
        digest.update(data)
        count += 1
    s.sendto(b"end", (address, port))
elif what == "tcp-in":
    l = socket.create_server((address, port))
    print("listening", flush=True)
    c, _ = l.accept()
    while data := c.recv(1 << 20):
        digest.update(data)
        count += len(data)
else:
    with open(sys.argv[4], "rb") as f, socket.create_connection((address, port)) as c:
        while data := f.read(1 << 20):
            c.sendall(data)
            digest.update(data)
            count += len(data)
print(count, digest.hexdigest())
PY
    listening() { # listening FILE
        for _ in {1..1200}; do grep -q listening "$1" && return; sleep 0.05; done
        fail "the receiver does not listen"
    }
    transfer() { # transfer KIND FROM TO ADDRESS PORT NAME
        local kind=$1 from=$2 to=$3 address=$4 port=$5 name=$6 begin end
        : >"$work/in.log" # what the one before said is not what we wait for
        on "$to" python3 "$work/flow.py" "$kind-in" "$address" "$port" >"$work/in.log" 2>&1 &
        local receiver=$!
        pids+=("$receiver")
        listening "$work/in.log"
        begin=$(date +%s%N)
        on "$from" timeout 300 python3 "$work/flow.py" "$kind-out" "$address" "$port" "$work/data" \
            >"$work/out.log" 2>&1 || fail "$name: $(tail -1 "$work/out.log")"
        wait "$receiver" || fail "$name: $(tail -1 "$work/in.log")"
        end=$(date +%s%N)
        [[ $(tail -1 "$work/in.log") == $(tail -1 "$work/out.log") ]] ||
            fail "$name: sent $(tail -1 "$work/out.log"), received $(tail -1 "$work/in.log")"
        took=$(((end - begin) / 1000000 + 1))
    }
    transfer udp "$a" "$b" 10.2.0.1 5001 "UDP a to b"
    ok "UDP a to b: $(cut -d' ' -f1 <(tail -1 "$work/in.log")) datagrams, none lost, hash equal"
    transfer udp "$b" "$a" 10.1.0.1 5001 "UDP b to a"
    ok "UDP b to a: $(cut -d' ' -f1 <(tail -1 "$work/in.log")) datagrams, none lost, hash equal"

    head -c "${megabytes}M" /dev/urandom >"$work/data"
    transfer tcp "$a" "$b" 10.2.0.1 5002 "TCP a to b"
    ok "TCP a to b: $megabytes MB in $took ms, $((megabytes * 8388 / took)) Mbit/s, hash equal"
    transfer tcp "$b" "$a" 10.1.0.1 5002 "TCP b to a"
    ok "TCP b to a: $megabytes MB in $took ms, $((megabytes * 8388 / took)) Mbit/s, hash equal"
else
    echo "SKIPPED UDP and TCP through the tunnel: python3 is not installed"
fi

# ---- what was on the wire ---------------------------------------------------------------
if [[ -n $wire ]]; then
    kill "$wire" # it writes what it has and ends well
    wait "$wire" || fail "dumpcap ended with status $?"
    tcpdump -n -r "$work/wire.pcap" -c 3 'ip proto 4' 2>/dev/null || true
    count() { tshark -r "$work/wire.pcap" -Y "$1" 2>/dev/null | wc -l; }
    n=$(count 'not arp and not ip.proto == 4')
    [[ $n == 0 ]] || fail "$n datagrams on the wire are not protocol 4"
    n=$(count 'ip.proto == 4')
    ((n > 200)) || fail "only $n datagrams of protocol 4 on the wire"
    ok "on the wire: $n datagrams of protocol 4 and nothing else"
fi

# ---- the end ----------------------------------------------------------------------------
# nsenter became vtunlconf: the pid is the program's.
kill -TERM "$shell_a"
kill -INT "$shell_b"
wait "$shell_a" || fail "vtunlconf a ended with status $?"
wait "$shell_b" || fail "vtunlconf b ended with status $?"
sed -n '/^ready$/,$p' "$work/vtunlconf-a.log" | tail -n +2
ok "both ends ended cleanly"
