"""`soundforge serve`: the live server, with a status line; Ctrl-C ends it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from soundforge.cli.output import console
from soundforge.cli.serve_options import with_settings
from soundforge.cli.status_line import StatusLine
from soundforge.errors import AudioError
from soundforge.live.latency import DeviceReport
from soundforge.settings import Settings, load_settings
from soundforge.version import __version__

REFRESH_SECONDS = 0.2
END_SECONDS = 12.0  # two are usual; a long clip on a slow disk is given its time

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Ctrl-C, a service manager, a terminal that is closed."""


@with_settings
def serve(context: typer.Context, **flags: Any) -> None:
    """Run the live server: listen, continue, generate and play, driven over OSC and MIDI."""
    settings = load_settings({**flags, "log": context.obj["log"], "debug": context.obj["debug"] or None})
    check_offline_input(settings)
    # An interrupt that arrives before the loop's handler stands, or on Windows, comes as an exception.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(settings))


def check_offline_input(settings: Settings) -> None:
    """Refuse a file that the offline device could not read, before anything starts."""
    if settings.offline_input is None:
        return
    import soundfile

    try:
        found = soundfile.info(str(settings.offline_input))
    except (OSError, RuntimeError) as error:
        what = "is no sound file" if settings.offline_input.exists() else "does not exist"
        raise AudioError(f"--offline-input came as {str(settings.offline_input)!r}, which {what}; "
                         "give a WAV, FLAC or Ogg") from error
    if found.frames == 0:
        raise AudioError(f"--offline-input came as {str(settings.offline_input)!r}, which is empty; give some sound")


async def run(settings: Settings) -> None:
    """Start everything, show the status until an interrupt, end everything."""
    from soundforge.app import Application

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end(asked: signal.Signals) -> None:
        ended.set()
        # Asked twice, the system ends this process at once, whatever a driver does to the interpreter meanwhile; the
        # children see their pipes close, fade out, and the shared memory is freed.
        loop.remove_signal_handler(asked)
        signal.signal(asked, signal.SIG_DFL)

    for name in ENDING:
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C is the exception in `serve`
            loop.add_signal_handler(name, end, name)
    application = Application(settings)
    with StatusLine(console) as line:
        line.write(f"SoundForge {__version__}: starting; Ctrl-C ends it")
        try:
            # Before the start: a device that is missing is told while it starts.
            application.session.add_listener(lambda event, origin: line.tell(event))
            starting = asyncio.create_task(application.start())
            waiting = asyncio.create_task(ended.wait())
            await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if starting.done():
                await starting
                for fact in facts(settings, application.session.device()):
                    line.write(fact)
            else:  # told to end while a device is being opened, which may take long
                starting.cancel()
                await asyncio.wait({starting})
            while not ended.is_set():
                line.update(application.session.status(), application.session.transport(), settings.beats_per_bar)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), REFRESH_SECONDS)
        finally:
            with bounded(END_SECONDS):
                await application.stop()
            line.write("ended")


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """End the process if what is inside does not: a MIDI driver that waits for its server holds the interpreter's
    lock (python-rtmidi closes ports with it), so only a watch outside the interpreter can help."""
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def facts(settings: Settings, device: DeviceReport) -> list[str]:
    """What a player needs to know at the start."""
    sound = "offline device" if settings.offline_device else \
        f"input {settings.input or 'default'}, output {settings.output or 'default'}"
    sound += f", {device.rate} Hz, {device.block} samples a block"
    if not settings.offline_device:
        sound += f"; latency in {device.input_ms:.1f} ms, out {device.output_ms:.1f} ms ({device.latency_from})"
    lines = [f"OSC on {settings.osc_host}:{settings.osc_port}", f"sound: {sound}",
             f"library: {settings.library}", f"log: {settings.log or 'none'}"]
    local = settings.osc_host in ("127.0.0.1", "localhost", "::1")
    if not local and not settings.osc_allow:
        lines.append("note: other machines are not heard until --osc-allow names them")
    return lines
