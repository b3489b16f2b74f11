"""The takeover as an independent recorder hears it: Pure Data plays a loop in, a JACK client records both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from jack_server import JackServer
from numpy.typing import NDArray
from served import Served
from splice import longest_silence
from takeover_kit import bring_in_phase, loop_at, looper, recording, take_over

pytestmark = [pytest.mark.rig, pytest.mark.slow]

BPM = 120.0
SEEN_MS = 0.5    # a crossfade begins too gently for its first samples to be told from the input
LEVEL_DB = 9.0   # of whole bars: the level is matched at the splice, and the music has its own course
PHASE_MS = 20.0  # within a sixteenth of 125 ms; the starter's own onsets are not closer than this in every clip


@dataclass
class Stage:
    server: Served
    jack: JackServer
    loop: NDArray[np.float32]
    ports: tuple[str, str]
    left_ms: float


@pytest.fixture(scope="module")
def stage(jack: JackServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server whose bar lines are those of a loop that Pure Data plays into it, and that is heard."""
    folder = tmp_path_factory.mktemp("stage")
    loop = loop_at(BPM, jack.rate)
    soundfile.write(folder / "loop.wav", loop, jack.rate, subtype="FLOAT")
    with Served(folder / "served", "--input", "system", "--output", "system", "--bpm", BPM,
                environment=jack.environment()) as server, looper(jack, folder / "loop.wav") as played:
        jack.connect(played, jack.wait_port("in_"))
        server.send("/soundforge/param/monitor", "i", 1)
        left = bring_in_phase(server, loop, jack.rate, BPM)
        yield Stage(server, jack, loop, (played, jack.wait_port("out_")), 1000.0 * left)


@pytest.mark.parametrize("bars_in", [2, *(pytest.param(n, marks=pytest.mark.soak) for n in (1, 4))])
def test_the_generated_sound_takes_the_line_and_nobody_hears_the_splice(stage: Stage, tmp_path: Path,
                                                                        bars_in: int) -> None:
    splice = take_over(stage.server, stage.jack, stage.loop, BPM, bars_in, 2, tmp_path / f"{bars_in}.wav", stage.ports)
    print(splice)
    underruns = stage.server.status().arguments[4]
    assert abs(splice.error_ms - stage.left_ms) < SEEN_MS, "on the line, but for what the transport was off"
    assert splice.silence_ms <= 5.0
    assert splice.jump <= 1.0, "no click: the music itself has larger steps"
    assert splice.flux <= 1.0
    assert abs(splice.level_db) < LEVEL_DB
    assert abs(splice.phase_ms) <= PHASE_MS
    assert underruns == 0 or stage.jack.late_cycles(), "a machine that is late may break the sound, we may not"


@pytest.mark.soak
def test_it_goes_on_until_it_is_told_to_end_and_may_be_changed_meanwhile(stage: Stage, tmp_path: Path) -> None:
    """An endless takeover, another text while it plays, the same prompt with another seed, and the end."""
    server, dump = stage.server, stage.server.dump
    dump.clear()
    with recording(stage.jack, tmp_path / "endless.wav", *stage.ports):
        server.send("/soundforge/takeover", "iis", 1, 0, "endless")
        dump.wait_for("/soundforge/job/playing", "endless", seconds=90)
        server.send("/soundforge/param/text", "s", "ambient pads")
        server.send("/soundforge/param/temperature", "f", 1.2)
        server.send("/soundforge/regenerate", "s", "again")
        dump.wait_for("/soundforge/job/playing", "again", seconds=90)
        first = dump.wait_for("/soundforge/job/done", "endless", seconds=90).arguments
        again = dump.wait_for("/soundforge/job/done", "again", seconds=60).arguments
    assert first[1] != again[1], "two clips, from one prompt"
    sound, rate = soundfile.read(tmp_path / "endless.wav", dtype="float32", always_2d=True)
    heard = sound[np.flatnonzero(sound[:, 1])[0]:, 1]
    assert longest_silence(heard[:-rate // 2], rate) < 500, "nothing breaks where one takes over from the other"
