"""The OSC bridge on a session in memory, a process of its own: prints its port, then answers each line with numbers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from session_double import MemorySession

from soundforge_bridges.osc.server import OscBridge


def resident_bytes() -> int:
    """0 where the system does not tell in this way."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


class CountingSession(MemorySession):
    """Forgets its calls, which would grow for ever, and counts what came instead."""

    carried_out = 0

    def status(self):  # type: ignore[no-untyped-def]
        self.calls.clear()
        return super().status()


async def main() -> None:
    session = CountingSession()
    bridge = OscBridge(session, port=0)
    on_message = bridge._intake._carry_out
    carried_out = 0

    def counting(message, sender):  # type: ignore[no-untyped-def]
        nonlocal carried_out
        carried_out += 1
        on_message(message, sender)
        session.calls.clear()

    bridge._intake._carry_out = counting
    await bridge.start()
    print(bridge.port, flush=True)
    # A thread of its own: the shared pool may grow by one, and threads are counted here.
    loop, reader = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    while await loop.run_in_executor(reader, sys.stdin.readline):
        print(json.dumps({"threads": threading.active_count(), "bytes": resident_bytes(), "dropped": bridge.dropped,
                          "malformed": bridge.malformed, "carried_out": carried_out,
                          "scheduled": len(bridge._intake.schedule),
                          "subscribers": len(bridge._out.subscribers)}), flush=True)
    await bridge.stop()


asyncio.run(main())
