"""`soundforge doctor`: checks this machine and says what to do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from soundforge.cli.output import FAILURE, JsonFlag, console, print_json

if TYPE_CHECKING:
    from soundforge.settings import Settings

MARKS = {"good": "[green]ok  [/green]", "note": "[yellow]note[/yellow]", "bad": "[red]bad [/red]"}


def doctor(
    context: typer.Context,
    json: JsonFlag = False,
    library: Annotated[Path | None, typer.Option("--library", metavar="DIR", help="Folder to check.")] = None,
    osc_port: Annotated[int | None, typer.Option("--osc-port", metavar="PORT", help="Port to check.")] = None,
    calibrate: Annotated[bool, typer.Option(
        "--calibrate", help="Measure the latency from output to input, which must be connected, and keep it.")] = False,
    clocks: Annotated[float | None, typer.Option(
        "--clocks", metavar="SECONDS", help="Run the devices so long (30 or more) and tell how their clocks drift.",
    )] = None,
    input: Annotated[str | None, typer.Option("--input", metavar="DEV", help="Audio input.")] = None,
    output: Annotated[str | None, typer.Option("--output", metavar="DEV", help="Audio output.")] = None,
    rate: Annotated[int | None, typer.Option("--rate", metavar="HZ", help="Device sample rate.")] = None,
    block: Annotated[int | None, typer.Option("--block", metavar="N", help="Samples per audio block.")] = None,
) -> None:
    """Check PortAudio, MIDI, torch, model files, write access and clock; exit status 1 when something is bad."""
    from soundforge.doctor import examine, log_folder_hint
    from soundforge.settings import load_settings

    settings = load_settings({"library": library, "osc_port": osc_port, "input": input, "output": output,
                              "rate": rate, "block": block})
    if calibrate:
        calibrate_latency(settings, json)
    if clocks is not None:
        show_clocks(settings, clocks, json)
    if calibrate or clocks is not None:
        return
    checks = []
    for check in examine(settings):
        checks.append(check)
        if not json:
            console.print(f"{MARKS[check.level]}  [bold]{check.name:<10}[/bold] {escape(check.found)}")
            if check.todo:
                console.print(f"{'':17}→ {check.todo}", markup=False)
    if json:
        print_json([asdict(check) for check in checks])
    else:
        console.print(log_folder_hint(context.obj["log"]), markup=False)
    if any(check.level == "bad" for check in checks):
        raise typer.Exit(FAILURE)


def calibrate_latency(settings: Settings, json: bool) -> None:
    """Measure the round trip of the devices in the settings, say it, and keep it for `serve`.

    Raises:
        DeviceError: nothing came back, or the device does not open. LibraryError: it cannot be written down.
    """
    import asyncio

    from soundforge.app import audio_setup
    from soundforge.calibrations import Calibration, calibration_file, keep_calibration
    from soundforge.live.calibration import measure_round_trip

    if not json:
        console.print("playing three bursts of noise and listening for them ...", markup=False)
    found = asyncio.run(measure_round_trip(audio_setup(settings)))
    opened, path = found.opened, calibration_file()
    kept = Calibration(opened.input_name or opened.name, opened.name, opened.rate, found.block, round(found.samples, 2))
    keep_calibration(path, kept)
    if json:
        print_json({**asdict(kept), "reported_samples": found.reported_samples, "heard_db": found.heard_db,
                    "file": str(path)})
        return
    seconds, told = found.samples / opened.rate, found.reported_samples / opened.rate
    console.print(f"round trip from {kept.output} to {kept.input} at {kept.rate} Hz, {kept.block} samples a block: "
                  f"{found.samples:.1f} samples, {1000 * seconds:.2f} ms (reported: {1000 * told:.2f} ms), "
                  f"heard at {found.heard_db:.1f} dB; kept in {path}", markup=False, soft_wrap=True)


def show_clocks(settings: Settings, seconds: float, json: bool) -> None:
    """Run the devices in the settings for a while and say how their clocks run.

    Raises:
        DeviceError: a device does not open. InputError: seconds out of range.
    """
    import asyncio

    from soundforge.app import audio_setup
    from soundforge.live.clock_check import measure_clocks

    found = asyncio.run(measure_clocks(audio_setup(settings), seconds))
    opened = found.opened
    if json:
        print_json({"output": opened.name, "input": opened.input_name or opened.name, "rate": opened.rate,
                    "seconds": found.seconds, "clock_ppm": round(found.clock_ppm, 1),
                    "drift_ppm": round(found.drift_ppm, 1), "two_clocks": found.two, "late_blocks": found.late_blocks})
        return
    apart = (f"{opened.input_name or 'its input'} runs {found.drift_ppm:+.1f} ppm against it, which is taken out"
             if found.two else "input and output have one clock")
    console.print(f"{opened.name} runs {found.clock_ppm:+.1f} ppm against this machine's clock at {opened.rate} Hz; "
                  f"{apart}; {found.late_blocks} late blocks in {found.seconds:g} s", markup=False, soft_wrap=True)
