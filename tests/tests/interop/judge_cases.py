"""Captures made to order, and whether judge.py finds them right: judge_cases.py.

Each is a datagram of 3000 octets that came out of the tunnel in pieces, as scapy makes them.
Prints what the judge said where it was wrong; its status is the number of such cases.
"""

import contextlib, io, os, runpy, sys, tempfile

from scapy.all import GRE, ICMP, IP, UDP, Raw, conf, fragment, raw, wrpcap

OURS, THEIRS, FAR, NEAR = "172.16.1.2", "10.9.0.2", "10.2.0.1", "10.1.0.1"
MUCH = bytes(n * n >> 5 & 255 for n in range(2900))


def inner(what, ident, ttl):
    return IP(raw(IP(src=FAR, dst=NEAR, id=ident, ttl=ttl) / what))


def pieces(p):
    return [IP(raw(q)) for q in fragment(p, 1472)]


def outer(p, ident):
    return pieces(IP(raw(IP(src=THEIRS, dst=OURS, id=ident, ttl=63) / GRE(proto=0x0800) / raw(p))))


flow, ping = UDP(sport=4000, dport=5001) / Raw(MUCH), ICMP(id=7) / Raw(MUCH)
inside, outside = outer(inner(flow, 77, 64), 1), pieces(inner(flow, 77, 63))
changed = [IP(bytes(q)) for q in outside]
changed[1][Raw].load = changed[1][Raw].load[:-1] + bytes([~MUCH[-1] & 255])

CASES = {  # its packets, and what the judge is to say, if anything
    "in pieces": (inside + outside, None),
    "pieces twice, in another order": (inside + inside[::-1] + outside[::-1] + outside, None),
    # Linux counts identifications for each protocol (RFC 6864 4.1): two may meet.
    "the identification of another protocol": (
        inside + outside + outer(inner(ping, 77, 64), 2) + pieces(inner(ping, 77, 63)), None),
    "a piece did not come out": (inside + outside[:1], "did not come out"),
    "the other piece did not": (inside + outside[1:], "did not come out"),
    "nothing but another protocol's did": (inside + pieces(inner(ping, 77, 63)), "did not come out"),
    "changed": (inside + changed, "did not come out"),
    "a fragment was lost inside": (inside[:1], "fragments that are no datagram"),
}

def judge(file):
    """Status and output of judge.py, run in this process: scapy is slow to load."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "judge.py")
    said, sys.argv = io.StringIO(), [program, "gre-bare", file, OURS, THEIRS, "64"]
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(program)
    except SystemExit as end:
        return int(end.code), said.getvalue()
    finally:
        conf.layers.unfilter()
    return None, said.getvalue()


failed = 0
with tempfile.TemporaryDirectory() as work:
    for n, (name, (packets, want)) in enumerate(CASES.items()):
        file = os.path.join(work, f"{n}.pcap")
        wrpcap(file, packets)
        status, said = judge(file)
        if not (status == 0 if want is None else status == 1 and want in said):
            failed += 1
            print(f"{name}: status {status}, not {want or 'right'}:\n{said}")
sys.exit(failed)
