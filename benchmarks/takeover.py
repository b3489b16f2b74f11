"""Takeovers on a real JACK server: how exactly the generated sound takes the line, and whether the splice is heard.

    python benchmarks/takeover.py [--tempi 120 90] [--bars 1 2 4] [--model starter]

Pure Data plays a recorded loop into `soundforge serve`, a JACK client of its own records both sides, and the figures
come from that recording alone. What `error_ms` and the others mean stands in `tests/rig/splice.py`; `phase_left_ms`
is how far the transport was from the loop when it was brought in phase. The last line is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "rig"))

from common import print_result
from jack_server import JackServer
from served import Served
from takeover_kit import bring_in_phase, loop_at, looper, take_over

FADE_MS = 10.0


def measure(jack: JackServer, folder: Path, model: str, tempi: list[float], bars: list[int]) -> list[dict[str, Any]]:
    """One takeover for each tempo and number of captured bars; four bars out."""
    found = []
    for bpm in tempi:
        loop = loop_at(bpm, jack.rate)
        file = folder / f"loop{bpm:g}.wav"
        soundfile.write(file, loop, jack.rate, subtype="FLOAT")
        with Served(folder / f"served{bpm:g}", "--model", model, "--input", "system", "--output", "system", "--bpm",
                    bpm, environment=jack.environment()) as server, looper(jack, file) as played:
            jack.connect(played, jack.wait_port("in_"))
            server.send("/soundforge/param/monitor", "i", 1)
            for number in bars:
                left = bring_in_phase(server, loop, jack.rate, bpm)
                splice = take_over(server, jack, loop, bpm, number, 4, folder / f"{bpm:g}-{number}.wav",
                                   (played, jack.wait_port("out_")), FADE_MS)
                print(f"{bpm:g} bpm, {number} bars: {splice}", flush=True)
                found.append({"bpm": bpm, "bars_in": number, "phase_left_ms": 1000 * left,
                              **dataclasses.asdict(splice)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the splices of takeovers.")
    parser.add_argument("--tempi", type=float, nargs="+", default=[120.0, 90.0])
    parser.add_argument("--bars", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--keep", type=Path, help="folder for the recordings, to be listened to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        jack = JackServer(folder / "jack")
        jack.start()
        try:
            splices = measure(jack, folder, options.model, options.tempi, options.bars)
            late = jack.late_cycles()
        finally:
            jack.stop()
    print_result("takeover", {"model": options.model, "splices": splices, "late_cycles_of_the_server": late})


if __name__ == "__main__":
    main()
