"""Takeovers on a real JACK server: how exactly the generated sound takes the line, and whether the splice is heard.

    python benchmarks/takeover.py [--cases 120:4 90:1:off ...] [--model starter] [--keep FOLDER]

A case is a tempo, a number of captured bars and, with `off`, the input heard by another way than through us
(`monitor` 0). Pure Data plays a recorded loop into `soundforge serve`, a JACK client of its own records both sides,
and the figures come from that recording alone. What `error_ms` and the others mean stands in `tests/rig/splice.py`;
`phase_left_ms` is how far the transport was from the loop when it was brought in phase, `line_ms` what is left of
`error_ms` without it. One line of JSON for each takeover; `--keep` leaves its recording and a picture.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "rig"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from common import print_result
from demo_picture import draw
from jack_server import JackServer
from serve_process import LOOP
from served import Served
from splice import Splice, at_the_desk
from takeover_kit import bring_in_phase, loop_at, looper, playable, take_over

from soundforge.audio import Waveform

FADE_MS = 10.0
BARS_OUT = 4
INSIDE_THE_COMPUTER = ("--input-latency-ms", 0, "--output-latency-ms", 0)
"""Loop and generated sound go to the same loudspeakers from here, so neither is heard later than the other."""


@dataclass(frozen=True)
class Case:
    """A tempo, bars to capture, and whether the input is heard through us."""

    bpm: float
    bars_in: int
    monitored: bool

    @classmethod
    def parse(cls, text: str) -> Case:
        bpm, bars, *rest = text.split(":")
        if rest not in ([], ["off"]):
            raise argparse.ArgumentTypeError(f"{text!r}: expected TEMPO:BARS or TEMPO:BARS:off")
        return cls(float(bpm), int(bars), not rest)

    def __str__(self) -> str:
        return f"{self.bpm:g}-{self.bars_in}-{'on' if self.monitored else 'off'}"


CASES = [Case.parse(text) for text in ("75:2", "75:1:off", "90:4", "100:1", "100:2:off", "120:4", "120:4:off", "140:8",
                                       "174:2", "174:4:off")]


def measure(jack: JackServer, folder: Path, model: str, cases: list[Case],
            source: Path, keep: bool) -> Iterator[tuple[Case, dict[str, Any]]]:
    """One takeover for each case, four bars out; neighbours with the same tempo and monitor share a server."""
    for (asked, monitored), group in itertools.groupby(cases, lambda case: (case.bpm, case.monitored)):
        bpm = playable(asked, jack.rate)
        loop = loop_at(bpm, jack.rate, source)
        here = folder / f"{asked:g}-{'on' if monitored else 'off'}"
        here.mkdir(parents=True, exist_ok=True)
        soundfile.write(here / "loop.wav", loop, jack.rate, subtype="FLOAT")
        latencies = () if monitored else INSIDE_THE_COMPUTER
        with Served(here, "--model", model, "--input", "system", "--output", "system", "--bpm", bpm, *latencies,
                    environment=jack.environment()) as server, looper(jack, here / "loop.wav") as played:
            jack.connect_all(played, ":in_")
            server.send("/soundforge/param/monitor", "i", int(monitored))
            for case in group:
                left = bring_in_phase(server, loop, jack.rate, bpm)
                late, dry = jack.late_cycles(), server.status().arguments[4]
                file = folder / f"{case}.wav"
                splice = take_over(server, jack, loop, bpm, case.bars_in, BARS_OUT, file,
                                   (played, jack.wait_port("out_")), FADE_MS, monitored)
                if keep:
                    picture(file, splice, bpm, case)
                yield case, {"phase_left_ms": 1000 * left, "line_ms": splice.error_ms - 1000 * left,
                             "underruns": server.status().arguments[4] - dry,
                             "late_cycles_of_the_server": jack.late_cycles() - late, **dataclasses.asdict(splice)}


def picture(file: Path, splice: Splice, bpm: float, case: Case) -> None:
    """Beside a recording: the two bars before the splice and what follows, as they are heard."""
    sound, rate = soundfile.read(file, dtype="float32", always_2d=True)
    heard = sound[:, 1] if case.monitored else at_the_desk(sound[:, 0], sound[:, 1], splice.departs,
                                                           round(FADE_MS / 1000 * rate))
    begin = splice.line - round(2 * 240.0 / bpm * rate)
    draw(Waveform(heard[None, begin:], rate), (splice.line - begin) / rate, file.with_suffix(".png"), bpm=bpm,
         title=f"takeover, {case}", subtitle=f"level {splice.level_db:.1f} dB, onsets {splice.phase_ms:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the splices of takeovers.")
    parser.add_argument("--cases", type=Case.parse, nargs="+", default=CASES, metavar="TEMPO:BARS[:off]")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--loop", type=Path, default=LOOP, help="four bars at 120 beats a minute")
    parser.add_argument("--keep", type=Path, help="folder for the recordings, to be listened to, and pictures of them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        jack = JackServer(folder / "jack")
        jack.start()
        try:
            for case, found in measure(jack, folder, options.model, options.cases, options.loop,
                                       options.keep is not None):
                print_result("takeover", {"model": options.model, "loop": options.loop.stem, "asked_bpm": case.bpm,
                                          "bars_in": case.bars_in, "monitor": case.monitored, **found})
        finally:
            jack.stop()


if __name__ == "__main__":
    main()
