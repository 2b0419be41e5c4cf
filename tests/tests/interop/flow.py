"""A flow of data, its count and hash printed at either end.

flow.py udp-in|tcp-in ADDRESS PORT           prints "listening", then what came
flow.py udp-out|tcp-out ADDRESS PORT COUNT   datagrams, or kilobytes
flow.py refused ADDRESS PORT                 a datagram to a closed port: who says so?

The receiver of datagrams says now and then how many have come, and their sender is never
more than a window ahead: no queue overflows, however late anybody runs.
"""

import hashlib, random, socket, sys, time

PATIENCE = 60  # seconds
WINDOW = 128  # datagrams

what, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
SO_RCVBUFFORCE = 33  # beyond net.core.rmem_max, for a privileged user
count = int(sys.argv[4]) if len(sys.argv) > 4 else 0
family = socket.AF_INET6 if ":" in address else socket.AF_INET
digest, n = hashlib.sha256(), 0

if what == "udp-in":
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
    s.bind((address, port))
    s.settimeout(PATIENCE)
    print("listening", flush=True)
    # Neither their order is promised, nor that they come once: the end may come early.
    heard, want = set(), None
    while len(heard) != want:
        try:
            data, peer = s.recvfrom(65536)
        except TimeoutError:
            sys.exit(f"{len(heard)} of {want} have come, and nothing more in {PATIENCE} s")
        if data.startswith(b"end "):
            want = int(data[4:])
        else:
            heard.add(data)
            if len(heard) % (WINDOW // 4) == 0:
                s.sendto(b"%d" % len(heard), peer)
    for data in sorted(heard):
        digest.update(data)
        n += 1
elif what == "udp-out":
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(PATIENCE)
    rng = random.Random(count)
    said, came = [], 0
    for i in range(count):
        while i - came >= WINDOW:
            came = max(came, int(s.recv(100)))
        # Most fit the tunnel, every tenth comes in fragments.
        size = rng.randrange(1500, 6000) if i % 10 == 0 else rng.randrange(0, 1400)
        data = i.to_bytes(4, "big") + rng.randbytes(size)
        said.append(data)
        s.sendto(data, (address, port))
        time.sleep(0.001)
    s.sendto(b"end %d" % count, (address, port))
    for data in sorted(said):
        digest.update(data)
        n += 1
elif what == "tcp-in":
    l = socket.socket(family)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind((address, port))
    l.listen()
    l.settimeout(PATIENCE)
    print("listening", flush=True)
    c, _ = l.accept()
    c.settimeout(PATIENCE)
    while data := c.recv(1 << 16):
        digest.update(data)
        n += len(data)
elif what == "tcp-out":
    rng = random.Random(count)
    with socket.create_connection((address, port), timeout=PATIENCE) as c:
        for _ in range(count):
            data = rng.randbytes(1024)
            c.sendall(data)
            digest.update(data)
            n += len(data)
elif what == "refused":
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(PATIENCE)
    s.connect((address, port))
    s.send(b"anybody?")
    try:
        s.recv(100)
    except ConnectionRefusedError:
        print("refused")
        sys.exit(0)
    except TimeoutError:
        pass
    sys.exit("nobody said that the port is closed")
print("flow", n, digest.hexdigest())
