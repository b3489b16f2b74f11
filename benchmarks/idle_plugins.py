"""What 20 idle plugins cost: nothing in a step, nothing in the audio callback. Set-up time is told beside it.

    python benchmarks/idle_plugins.py [--rounds 9]

Twenty one-file plugins register every kind of part and hear of events. The step is the starter's own, timed in turns
with and without them; beside it stands "without" against itself, which is the noise of this machine. The callback is a
block of 256 samples through the audio process's mixer while a clip plays, in processes with and without them in turns.
The last line is JSON.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from common import alternately, arguments, parse, print_result

PLUGIN = '''
import soundforge as sf
from soundforge.interfaces import (BridgeDescriptor, ClipProcessorDescriptor, CodecDescriptor, ConditionerDescriptor,
                                   DecoderDescriptor, ModelFamilyDescriptor)
SOUNDFORGE_CONTRACT = 1
def never(*arguments): raise AssertionError("an idle part was used")
@sf.hookimpl
def register_conditioners(register): register(ConditionerDescriptor("idle_{n}", ("nothing",), never, summary="idle"))
@sf.hookimpl
def register_codecs(register): register(CodecDescriptor("idle_{n}", never, 8000, 1, 50.0, 2, 16, summary="idle"))
@sf.hookimpl
def register_decoders(register): register(DecoderDescriptor("idle_{n}", (), never, summary="idle"))
@sf.hookimpl
def register_model_families(register):
    register(ModelFamilyDescriptor("idle_{n}", lambda folder: False, never, summary="idle"))
@sf.hookimpl
def register_clip_processors(register): register(ClipProcessorDescriptor("idle_{n}", never, summary="idle"))
@sf.hookimpl
def register_bridges(register): register(BridgeDescriptor("idle_{n}", never, "idle", False))
@sf.hookimpl
def on_event(event): pass
'''
CALLBACK = '''
import sys, time
from pathlib import Path
import numpy as np
from soundforge.host import create_host
host = create_host(plugins_dir=Path(sys.argv[1]) if sys.argv[1] else None)
from soundforge.event_worker import EventWorker
worker = EventWorker(host.manager, print)
worker.start()
from soundforge.live.audio_protocol import STREAM_VOICES, Command
from soundforge.testing.fake_device import FakeDevice
heard = np.random.default_rng(0).uniform(-0.5, 0.5, (256, 2)).astype(np.float32)
out, times = np.zeros((256, 2), np.float32), []
with FakeDevice(block=256) as device:
    device.mixer.clips[3] = np.tile(heard, (6000, 1))
    device.command(Command.PLAY_CLIP, voice=STREAM_VOICES, at=0, a=3, token=9, x=1.0)
    for _ in range(4000):
        began = time.perf_counter()
        device.mixer.process(heard, out)
        times.append(time.perf_counter() - began)
assert np.abs(out).max() > 0.1
print(sorted(times)[len(times) // 2], sorted(times)[int(0.999 * len(times))])
'''


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="of each comparison")
    options = parse(parser)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n in range(20):
            (folder / f"idle_{n}.py").write_text(PLUGIN.format(n=n), encoding="utf-8")
        print_result("idle_plugins", {**steps(folder, options.rounds), **callback(folder, options.rounds)})


def steps(folder: Path, rounds: int) -> dict[str, float]:
    """Seconds of a step of the starter with and without them, and what setting them up takes."""
    import soundforge as sf
    from soundforge.host import create_host

    began = time.perf_counter()
    without = create_host()
    between = time.perf_counter()
    with_them = create_host(plugins_dir=folder)
    set_up = time.perf_counter() - between - (between - began)
    engines = {"without": sf.load("starter", device="cpu", host=without),
               "with": sf.load("starter", device="cpu", host=with_them)}
    runs = {name: (lambda engine=engine: engine.generate("lead", seconds=1.0, seed=1, cfg=3.0))
            for name, engine in engines.items()}
    runs["without again"] = runs["without"]
    times = alternately(runs, rounds=rounds)
    return {"n_plugins": 20, "set_up_seconds": max(0.0, set_up), "step_ms_without": 1000 * times.median("without") / 53,
            "step_ms_with": 1000 * times.median("with") / 53, "step_ratio_with_without": times.ratio("with", "without"),
            "step_ratio_noise": times.ratio("without again", "without")}


def callback(folder: Path, rounds: int) -> dict[str, float]:
    """Microseconds of a block through the mixer, in processes with and without them, in turns."""
    found: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
    for index in range(rounds):
        for name in ("without", "with") if index % 2 else ("with", "without"):
            done = subprocess.run([sys.executable, "-c", CALLBACK, str(folder) if name == "with" else ""],
                                  capture_output=True, text=True, check=True)
            middle, late = map(float, done.stdout.split()[-2:])
            found[name].append((middle, late))
    ratios = [a[0] / b[0] for a, b in zip(found["with"], found["without"], strict=True)]
    return {"callback_us_without": 1e6 * median(t[0] for t in found["without"]),
            "callback_us_with": 1e6 * median(t[0] for t in found["with"]),
            "callback_p999_us_without": 1e6 * median(t[1] for t in found["without"]),
            "callback_p999_us_with": 1e6 * median(t[1] for t in found["with"]),
            "callback_ratio_with_without": float(np.median(ratios))}


if __name__ == "__main__":
    main()
