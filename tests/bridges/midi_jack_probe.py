"""A process of its own for the test with a real MIDI system: a bridge on JACK's MIDI, and what came of it.

`python midi_jack_probe.py [LAMPS [KEYS]]` prints `ready`, works until its input closes, and prints one line of JSON;
with KEYS also `opened` and `gone`.
Run in the environment of a JACK server. The lights go to the output whose name contains LAMPS, which is waited for;
KEYS is an input that may come and go, and is not waited for.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from session_double import MemorySession

from soundforge_bridges.midi import port_keeper
from soundforge_bridges.midi.bridge import MidiBridge


async def tell_opened(bridge: MidiBridge) -> None:
    """Say each time when an input that may come and go is open."""
    while True:
        for wanted in (True, False):
            while bool(bridge.open_inputs) is not wanted:
                await asyncio.sleep(0.02)
            if wanted:
                print("opened", flush=True)


async def main() -> None:
    lamps = sys.argv[1] if sys.argv[1:] and sys.argv[1] else None
    keys = sys.argv[2:]
    session = MemorySession()
    lines: list[str] = []
    session.pads = {pad: f"clip-{pad}" for pad in range(1, 17)}

    def report(line: str) -> None:
        lines.append(line)
        if "has gone" in line:
            print("gone", flush=True)

    bridge = MidiBridge(session, keys, output=lamps, report=report)
    came: list[float] = []
    accepted: list[float] = []
    on_midi = bridge._on_midi

    def timed(message: Any) -> None:
        if message.type == "note_on" and message.note == 40 and message.velocity:
            came.append(message.time)  # stamped on the driver's thread, in the process where JACK's MIDI lives
        on_midi(message)

    bridge._on_midi = timed  # type: ignore[method-assign]
    session.add_listener(lambda event, origin: accepted.append(time.perf_counter()) if origin and hasattr(event, "job")
                         else None)
    port_keeper.LOOK_SECONDS = 0.5
    await bridge.start()
    telling = asyncio.create_task(tell_opened(bridge)) if keys else None
    while lamps and not bridge.open_outputs:
        await asyncio.sleep(0.05)  # JACK may list a port late; the bridge looks every two seconds
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    if telling is not None:
        telling.cancel()
    await bridge.stop()
    print(json.dumps({"calls": [call for call in session.calls if call[0] != "continue_take"], "jobs": len(accepted),
                      "milliseconds": [1000 * (b - a) for a, b in zip(came, accepted, strict=True)],
                      "lines": lines}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
