#!/usr/bin/env bash
# Rebuilds the captures of this directory: traffic between two hosts that run the stack of
# the kernel this script runs on. As root, or without privilege (it then enters a user
# namespace by itself). Needs iproute2, iputils-ping, dumpcap (of wireshark), ethtool, python3.
# (tcpdump can't run in a user namespace: it insists on changing groups.)
#
#   linux-tun.pcap     raw IP       10.1.0.1 <-> 10.2.0.1, a TUN device each, mtu 1500
#   linux-ether.pcap   Ethernet     192.0.2.1 <-> 192.0.2.2, a veth pair
#
# In each: pings (one of 3000 bytes, in fragments), UDP both ways (one of 4000 bytes), a
# UDP datagram to a closed port and its ICMP answer, a TCP conversation of 16 kB.
set -euo pipefail
cd "$(dirname "$0")"
if [[ $(id -u) != 0 || ${1:-} == --user ]]; then exec unshare -Urn "$PWD/make.sh" --inside; fi

out=$PWD
work=$(mktemp -d)
holders=()
trap 'kill "${holders[@]}" 2>/dev/null; rm -rf "$work"' EXIT

# A host is a process that holds a network namespace; $1 becomes its pid.
host() {
    mkfifo "$work/$1"
    unshare -n sh -c 'echo ready >"$0"; exec tail -f /dev/null' "$work/$1" &
    holders+=($!)
    read -r _ <"$work/$1"
    declare -g "$1=$!"
}
in_host() {
    local pid=$1
    shift
    nsenter -n -t "$pid" "$@"
}
each() {
    for pid in "$a" "$b"; do in_host "$pid" "$@"; done
}

host a
host b
each ip link set lo up

# ---- the wires ----
in_host "$a" ip link add v0 type veth peer name v0 netns "$b"
in_host "$a" ip addr add 192.0.2.1/24 dev v0
in_host "$b" ip addr add 192.0.2.2/24 dev v0
each ip link set v0 up
each ethtool -K v0 tx off gso off gro off tso off >/dev/null

cat >"$work/tunwire.py" <<'PY'
"""Two TUN devices, one in each of two namespaces, and all that one sends given to the other."""
import ctypes, fcntl, os, select, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
fds = []
for pid in sys.argv[1:3]:
    ns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    assert libc.setns(ns, 0x40000000) == 0, os.strerror(ctypes.get_errno())
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))  # IFF_TUN|IFF_NO_PI
    fds.append(tun)
print("ready", flush=True)
while True:
    for fd in select.select(fds, [], [])[0]:
        try:
            os.write(fds[1 - fds.index(fd)], os.read(fd, 65536))
        except OSError:  # the other end is not up yet
            pass
PY
mkfifo "$work/wire"
python3 "$work/tunwire.py" "$a" "$b" >"$work/wire" &
holders+=($!)
read -r _ <"$work/wire"
in_host "$a" ip addr add 10.1.0.1/32 peer 10.2.0.1 dev tun0
in_host "$b" ip addr add 10.2.0.1/32 peer 10.1.0.1 dev tun0
each ip link set tun0 up

# ---- the traffic ----
cat >"$work/talk.py" <<'PY'
"""serve ADDR | call ADDR: the two sides of the UDP and TCP conversations."""
import socket, sys
role, addr = sys.argv[1:3]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if role == "serve":
    udp.bind((addr, 5000))
    tcp = socket.create_server((addr, 5001))
    print("ready", flush=True)
    for _ in range(9):
        data, peer = udp.recvfrom(65536)
        udp.sendto(data.upper(), peer)
    conn, _ = tcp.accept()
    got = b""
    while chunk := conn.recv(65536):
        got += chunk
    conn.sendall(got[::-1][:4096])
    conn.close()
else:
    udp.settimeout(5)
    for i in range(9):
        udp.sendto(b"datagram %d " % i * (1 if i < 8 else 340), (addr, 5000))
        udp.recv(65536)
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.connect((addr, 5999))
    closed.settimeout(5)
    closed.send(b"is anybody there?")
    try:
        closed.recv(1)
    except ConnectionRefusedError:
        pass
    tcp = socket.create_connection((addr, 5001), timeout=5)
    tcp.sendall(bytes(range(256)) * 64)
    tcp.shutdown(socket.SHUT_WR)
    while tcp.recv(65536):
        pass
    udp.sendto(b"that is all", (addr, 5000))
PY

# capture FILE DEVICE ADDRESS: the traffic with b's ADDRESS, as a's DEVICE sees it
capture() {
    local file=$1 dev=$2 addr=$3
    mkfifo "$work/dumpcap.$dev" "$work/serve.$dev"
    nsenter -n -t "$a" dumpcap -q -P -i "$dev" -f 'not ip6' -w "$work/$file" \
        2>"$work/dumpcap.$dev" &
    local dump=$!
    exec {said}<"$work/dumpcap.$dev"
    grep -q ^File: <&"$said" # it is listening now
    in_host "$b" python3 "$work/talk.py" serve "$addr" >"$work/serve.$dev" &
    local serve=$!
    read -r _ <"$work/serve.$dev"
    in_host "$a" ping -q -n -c 3 -i 0.1 "$addr"
    in_host "$a" ping -q -n -c 1 -s 3000 "$addr"
    in_host "$a" ping -q -n -c 1 -s 0 "$addr"
    in_host "$a" python3 "$work/talk.py" call "$addr"
    wait "$serve"
    # Packets reach the file in blocks: the last to come is known by its words.
    until grep -qa 'that is all' "$work/$file"; do :; done
    kill "$dump"
    wait "$dump"
    cp "$work/$file" "$out/"
}
capture linux-tun.pcap tun0 10.2.0.1
capture linux-ether.pcap v0 192.0.2.2
ls -l "$out"/*.pcap
