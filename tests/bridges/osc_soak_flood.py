"""Floods a port: `python osc_soak_flood.py PORT PACKETS_A_SECOND SECONDS`; prints how many packets were sent."""

from __future__ import annotations

import socket
import sys
import time

from hostile_packets import a_year_ahead
from osc_peer import build

port, rate, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
packets = [b"#bundle\0" + b"\xff" * 80, build("/soundforge/generate", "x", 4, "j"), build("/soundforge/status"),
           build("/soundforge/nope", 1.5, "abc"), build("/soundforge/ping", 1), a_year_ahead(),
           build("/soundforge/status", f"osc.udp://127.0.0.1:{port}/", "/soundforge/ping")]
sent, start = 0, time.perf_counter()
while (now := time.perf_counter() - start) < seconds:
    for _ in range(min(200, int(now * rate) - sent)):
        sockets[sent % 8].sendto(packets[sent % len(packets)], ("127.0.0.1", port))
        sent += 1
    time.sleep(0.0005)
print(sent)
