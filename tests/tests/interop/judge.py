"""What scapy says about a capture of a tunnel: judge.py KIND FILE OURS THEIRS TTL..

KIND is ipip, gre, gre-bare, gre-v6 or sit; OURS is the outer address of vtunl, THEIRS that of the Linux
kernel; TTL.. those that vtunl may give outer headers. FILE is what passed the TUN device: the inner datagrams bare on their way in and
out of vtunl's host, and the outer ones. Every packet must be what the RFCs ask; every
datagram in the tunnel must be one that was bare as well, but for what a router changes.

Prints "encapsulated N decapsulated M fragments F errors E marked C" at the end.
"""

import sys
from collections import Counter

from scapy.all import (GRE, ICMP, IP, TCP, UDP, IPv6, Raw, conf, defragment, in4_chksum,
                       in6_chksum, raw, rdpcap)
from scapy.utils import checksum

# What the flows carry is no protocol: nothing is to be found in it.
conf.layers.filter([IP, IPv6, GRE, ICMP, TCP, UDP])

kind, file, ours, theirs = sys.argv[1:5]
ttls = [int(t) for t in sys.argv[5:]]
PROTO = {"ipip": 4, "gre": 47, "gre-bare": 47, "gre-v6": 47, "sit": 41}[kind]
broken = []


def whole(p):
    """Its bytes as they came: what scapy builds anew may be another order of them."""
    return p.original


def wrong(p, why):
    broken.append(f"{why}: {p.summary()}")


def check_sums(p):
    """Every checksum of a whole datagram, RFC 791, 792, 768, 793, 2460 8.1, 4443 2.3."""
    b = whole(p)
    if isinstance(p, IP):
        header = p.ihl * 4
        if checksum(b[:header]) != 0:
            wrong(p, "IP checksum")
        if p.len != len(b):
            wrong(p, f"IP length {p.len}, has {len(b)}")
        if p.frag or p.flags.MF:
            return
        payload, proto, pseudo = b[header:], p.proto, in4_chksum
    else:
        if p.plen != len(b) - 40:
            wrong(p, f"IPv6 length {p.plen}, has {len(b) - 40}")
        payload, proto, pseudo = b[40:], p.nh, in6_chksum
    if isinstance(p, IP) and proto == 1 and checksum(payload) != 0:
        wrong(p, "ICMP checksum")
    if (proto in (6, 17) or (proto == 58 and isinstance(p, IPv6))) and payload:
        if proto == 17 and payload[6:8] == b"\0\0":
            return  # RFC 768: none
        if pseudo(proto, p, payload) not in (0, 0xFFFF):
            wrong(p, "transport checksum")


def inside(p):
    """The datagram in an outer one, and its GRE header."""
    b = whole(p)[p.ihl * 4:]
    if PROTO != 47:
        return (IP if PROTO == 4 else IPv6)(b), None
    g = GRE(b)
    n = 4 + 4 * (g.chksum_present + g.key_present + g.seqnum_present)
    if g.chksum_present and checksum(b) != 0:
        wrong(p, "GRE checksum")  # RFC 2784 2.1
    if g.version or g.routing_present or g.strict_route_source or g.flags:
        wrong(p, "GRE header")  # RFC 2784 2.3
    if g.proto != (0x86DD if kind == "gre-v6" else 0x0800):
        wrong(p, f"GRE protocol {g.proto:x}")
    return (IPv6 if g.proto == 0x86DD else IP)(b[n:]), g


def as_routed(p, hops=0):
    """A datagram without what a router changes; `hops` undoes its work."""
    b = bytearray(whole(p))
    if isinstance(p, IP):
        b[8] = b[8] + hops & 255
        b[10:12] = b"\0\0"
    else:
        b[7] = b[7] + hops & 255
    return bytes(b)


def joined(i, outer):
    """The inner datagram with the congestion mark of the outer one (RFC 6040 4.2)."""
    b = bytearray(whole(i))
    shift = 0 if isinstance(i, IP) else 4
    if outer & 3 == 3 and b[1] >> shift & 3:
        b[1] |= 3 << shift
    return type(i)(bytes(b))


def ident(p):
    """Whose fragments belong together (RFC 791 3.2): one identification of each protocol."""
    return p.src, p.dst, p.proto, p.id


def note_error(p):
    """Whom an ICMP error is about."""
    if isinstance(p, IP) and ICMP in p and p[ICMP].type in (3, 11):
        q = IP(whole(p)[p.ihl * 4 + 8:])
        refused.add((ident(q), q.len))
    if isinstance(p, IPv6) and p.nh == 58 and whole(p)[40] in (1, 2, 3, 4):
        q = IPv6(whole(p)[48:])
        refused.add((q.src, q.dst, q.fl, q.plen))


octets = {}  # of bare datagrams, by identification and place
bare, refused, fragments, pieces = set(), set(), 0, []
for p in rdpcap(file):
    p = p if isinstance(p, (IP, IPv6)) else p[IP] if IP in p else p[IPv6]
    check_sums(p)
    if isinstance(p, IP) and p.proto == PROTO and {p.src, p.dst} == {ours, theirs}:
        fragments += bool(p.frag or p.flags.MF)
        pieces.append(IP(whole(p)[:20]) / Raw(whole(p)[20:]))
    else:
        bare.add(as_routed(p))
        if isinstance(p, IP) and not p.flags.DF:
            data = octets.setdefault((ident(p), p.ttl), {})
            data.update(enumerate(whole(p)[p.ihl * 4:], p.frag * 8))
        note_error(p)

encapsulated, decapsulated, marked, silent = 0, 0, 0, []
idents, sequence = set(), -1
# A fragment may come twice (RFC 791 3.2). Each from its bytes: what defragment() returns
# keeps old fields.
once = {raw(p) if p.frag or p.flags.MF else at: p for at, p in enumerate(pieces)}
for p in [IP(raw(q)) for q in defragment(list(once.values()))]:
    if p.frag or p.flags.MF:
        wrong(p, "fragments that are no datagram")
        continue
    i, g = inside(p)
    check_sums(i)
    note_error(i)
    if p.src == ours:
        tos = i.tos if isinstance(i, IP) else i.tc
        # RFC 6040 4.1, RFC 2983 (uniform), RFC 2003 3.1, RFC 6864 4.1.
        if p.tos != tos:
            wrong(p, f"TOS {p.tos}, inside {tos}")
        if p.ttl not in ttls or p.ihl != 5:
            wrong(p, f"TTL {p.ttl}, header of {p.ihl} words")
        if isinstance(i, IP) and p.flags.DF != i.flags.DF:
            wrong(p, "DF is not the inner one")
        if not p.flags.DF and p.id in idents:
            wrong(p, "identification used again")
        idents.add(p.id)
        if g is not None and g.seqnum_present:
            if g.sequence_number <= sequence:  # RFC 2890 2.2
                wrong(p, "GRE sequence")
            sequence = g.sequence_number
        encapsulated += 1
        # RFC 2003 3.1: unchanged but for the TTL, once. What our host says itself, it says
        # nowhere else.
        # The program that carries IPv6 is no router.
        hops = int(isinstance(i, IP))
        if as_routed(i, hops) not in bare and not (isinstance(i, IP) and i.src == ours):
            wrong(i, "encapsulated, and not what came")
    else:
        decapsulated += 1
        marked += whole(joined(i, p.tos)) != whole(i)
        i = joined(i, p.tos)
        if as_routed(i, -1) not in bare and as_routed(i) not in bare:
            silent.append(i)
# What went no further was refused, and its source told.
for i in silent:
    if isinstance(i, IP) and not i.flags.DF:
        data = octets.get((ident(i), i.ttl - 1), {})
        want = enumerate(whole(i)[i.ihl * 4:], i.frag * 8)
        if all(data.get(at) == octet for at, octet in want):
            continue  # in pieces, RFC 791 3.2
    if not isinstance(i, IP) or (ident(i), i.len) not in refused:
        wrong(i, "decapsulated, and did not come out")

for line, n in Counter(broken).most_common(20):
    print(f"{n} times {line}")
print(f"encapsulated {encapsulated} decapsulated {decapsulated} fragments {fragments} errors {len(refused)} marked {marked}")
sys.exit(bool(broken))
