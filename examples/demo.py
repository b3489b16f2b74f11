"""The main job, end to end, on the embedded model: capture real audio, continue it over OSC, hear and see it.

    python examples/demo.py                 leaves demo/captured.wav, continuation.wav, joined.wav, joined.png
    python examples/demo.py --offline       without the sound card, even where there is one

It starts `soundforge serve`, plays a recorded loop into the capture, asks for a continuation as any OSC client
would, and waits until it is done. Without a sound card the server's offline device hears the loop instead.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from demo_picture import draw
from osc_client import OscClient
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

import soundforge as sf
from soundforge.audio import splice
from soundforge.hardware import audio_devices, quiet_libraries
from soundforge.library import Library
from soundforge.wav import write_wave

ROOT = Path(__file__).resolve().parent.parent
LOOP = ROOT / "examples" / "loops" / "garzul_120bpm.flac"
BPM, BARS, SEED = 120.0, 4, 7
QUIET_DB = -45.0
console = Console(highlight=False)


@dataclass(frozen=True)
class Times:
    """What was measured on the way, in seconds; `first_sound` from the continue to its first audible sample."""

    pong: float
    ready: float
    first_sound: float
    done: float


def say(text: str) -> None:
    console.print(f"[bold cyan]demo[/bold cyan]  {text}")


def has_sound_card() -> bool:
    """Whether there is a default input and a default output."""
    devices, why = audio_devices()
    if any(d["default_input"] for d in devices) and any(d["default_output"] for d in devices):
        return True
    say(f"no sound card ({why.split(';')[0] if why else 'no default input and output'}): using the offline device")
    return False


def start_server(port: int, folder: Path, offline: bool) -> subprocess.Popen[bytes]:
    """`soundforge serve` as a process of its own, its screen in demo/serve.txt."""
    command = [sys.executable, "-m", "soundforge.cli", "serve", "--osc-port", str(port), "--bpm", f"{BPM:g}",
               "--library", str(folder / "library"), "--log", str(folder / "serve.log")]
    if offline:
        command += ["--offline-device", "--offline-input", str(LOOP), "--offline-output", str(folder / "heard.wav")]
    with (folder / "serve.txt").open("wb") as screen:
        return subprocess.Popen(command, stdout=screen, stderr=screen, stdin=subprocess.DEVNULL)


def play_loop_aloud(client: OscClient) -> Any:
    """Begin to play the loop on the default output at the next bar line; gives the running player."""
    with quiet_libraries():
        import sounddevice

    loop = sf.read(LOOP)
    client.send("/soundforge/transport/position")
    beat = float(client.wait("/soundforge/transport")[3])
    time.sleep((4.0 - beat % 4.0) * 60.0 / BPM)
    sounddevice.play(loop.samples.T, loop.sample_rate, loop=True)
    return sounddevice


def capture(client: OscClient) -> str:
    """Capture four bars from the next bar line; the take's id."""
    client.send("/soundforge/capture/bars", BARS, "riff")
    client.wait("/soundforge/capture/started", "riff", seconds=30)
    say(f"capturing {BARS} bars of {LOOP.name}")
    _, seconds, peak = client.wait("/soundforge/take", "riff", seconds=60)
    say(f"captured {seconds:.2f} s, peak {peak:.1f} dB")
    if peak < QUIET_DB:
        raise RuntimeError(f"the capture is nearly silent ({peak:.0f} dB)")
    return "riff"


def continue_take(client: OscClient, take: str) -> tuple[str, float, float]:
    """Ask for a continuation and wait; the clip's id, and seconds until its first sound and its end."""
    client.send("/soundforge/param/seed", SEED)
    client.send("/soundforge/param/quantum", 0.0)
    client.wait("/soundforge/param/quantum")
    with Progress(TextColumn("[bold cyan]demo[/bold cyan]  generating"), BarColumn(), console=console,
                  transient=True) as bar:
        task = bar.add_task("generate", total=1.0)

        def heard(address: str, arguments: tuple[Any, ...]) -> None:
            if address == "/soundforge/job/progress":
                bar.update(task, completed=float(arguments[1]))

        client.on_message = heard
        began = time.monotonic()
        client.send("/soundforge/continue", take, BARS * 4 * 60.0 / BPM, "mine")
        client.wait("/soundforge/job/accepted", "mine")
        client.wait("/soundforge/job/playing", "mine", seconds=300, failed="/soundforge/job/error")
        playing = time.monotonic() - began
        _, clip, seconds, _ = client.wait("/soundforge/job/done", "mine", seconds=300, failed="/soundforge/job/error")
        done = time.monotonic() - began
        client.on_message = None
    say(f"continued by {seconds:.2f} s; first sound {playing * 1000:.0f} ms after the command, done after {done:.2f} s")
    return str(clip), playing, done


def perform(folder: Path, port: int, offline: bool) -> tuple[str, str, Times]:
    """Server up, capture, continuation, server down; ids of take and clip, and the times."""
    server = start_server(port, folder, offline)
    player = None
    try:
        with OscClient(port) as client:
            pong = client.wait_for_server(stopped=lambda: server.poll() is not None)
            began = time.monotonic()
            client.wait_until_ready()
            ready = pong + time.monotonic() - began
            say(f"serve answers after {pong:.2f} s, its model is ready after {ready:.1f} s")
            if not offline:
                player = play_loop_aloud(client)
            take = capture(client)
            if player is not None:
                player.stop()
            clip, playing, done = continue_take(client, take)
            # What plays is heard out to its end, so that heard.wav holds all of it.
            time.sleep(max(0.0, BARS * 4 * 60.0 / BPM + playing - done) + 0.5)
            return take, clip, Times(pong, ready, playing, done)
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{(folder / 'serve.txt').read_text(errors='replace')[-2000:]}") from error
    finally:
        if player is not None:
            player.stop()
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def join(folder: Path, take_id: str, clip_id: str, times: Times) -> None:
    """Write the three WAVs and the picture."""
    library = Library(folder / "library")
    take, clip = library.load_take(take_id), library.load_clip(clip_id)
    captured = take.waveform.resampled(clip.sample_rate).with_channels(clip.channels)
    new = clip.waveform[:, clip.prompt_samples:]
    joined = sf.Waveform(splice(captured.samples, new, 0), clip.sample_rate)
    write_wave(captured, folder / "captured.wav", bpm=BPM)
    shutil.copyfile(library.info("clip", clip_id).path, folder / "continuation.wav")
    write_wave(joined, folder / "joined.wav", bpm=BPM)
    factor = clip.info.get("rtf") or clip.seconds / times.done
    draw(joined, captured.seconds, folder / "joined.png", bpm=BPM, title="SoundForge plays on from the bar line",
         subtitle=f"captured: {LOOP.stem} (CC0), {BPM:g} bpm   ·   model {clip.model}, seed {clip.seed}   ·   "
                  f"real-time factor {float(factor):.1f}   ·   first sound {times.first_sound * 1000:.0f} ms after "
                  "/soundforge/continue")
    for name in ("captured.wav", "continuation.wav", "joined.wav", "joined.png"):
        say(f"wrote {(folder / name).relative_to(folder.parent)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Capture a loop, continue it over OSC, hear and see it.")
    parser.add_argument("--offline", action="store_true", help="use the offline device even with a sound card")
    parser.add_argument("--folder", type=Path, default=ROOT / "demo", help="where the results go (demo)")
    parser.add_argument("--port", type=int, default=9139, help="OSC port of the demo's own server (9139)")
    options = parser.parse_args()
    folder = options.folder.resolve()
    shutil.rmtree(folder / "library", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    offline = options.offline or not has_sound_card()
    try:
        take, clip, times = perform(folder, options.port, offline)
    except RuntimeError as error:
        if offline:
            raise SystemExit(f"demo: {error}") from error
        say(f"the sound card did not do ({str(error).splitlines()[0]}): once more with the offline device")
        shutil.rmtree(folder / "library", ignore_errors=True)
        take, clip, times = perform(folder, options.port, offline=True)
    join(folder, take, clip, times)


if __name__ == "__main__":
    main()
