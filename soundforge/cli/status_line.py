"""The live status line of `soundforge serve`: state, tempo, position, queue, underruns, and what happened last.

On a terminal it is one line that stays at the bottom while events scroll above it; into a file or a pipe only the
events are written, one plain line each. A terminal that is closed while the music plays ends the showing and nothing
else. All methods are called on the control process's event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from soundforge.requests import (
    CaptureEvent,
    ClipEvent,
    Event,
    JobEvent,
    NoticeEvent,
    StatusEvent,
    TransportEvent,
)

log = logging.getLogger(__name__)

COLOURS = {"error": "bold red", "loading": "yellow", "generating": "bold magenta", "capturing": "bold red",
           "playing": "bold green", "ready": "green"}


class StatusLine:
    """A context manager around `rich.live.Live`; `update` redraws, `tell` writes a line above."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(Text(""), console=console, auto_refresh=False, transient=True) if console.is_terminal \
            else None
        self._shown = ""
        self._closed = False

    def __enter__(self) -> StatusLine:
        if self._live:
            self._show(self._live.start)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._live:
            self._show(self._live.stop)

    def update(self, status: StatusEvent, transport: TransportEvent, beats_per_bar: int = 4) -> None:
        """Show where things stand; without a terminal a line when a model begins to load, and when it has."""
        live = self._live
        if live:
            self._show(lambda: live.update(status_text(status, transport, beats_per_bar), refresh=True))
        elif (state := f"{'loading' if status.state == 'loading' else 'model'}: {status.model}") != self._shown:
            self.write(state)
            self._shown = state

    def tell(self, event: Event) -> None:
        """Write what happened, when it is worth a line."""
        line = event_line(event)
        if line:
            self.write(line)

    def write(self, line: str) -> None:
        """One plain line above the status."""
        self._show(lambda: self._console.print(line, markup=False, soft_wrap=True))

    def _show(self, draw: Callable[[], None]) -> None:
        if self._closed:
            return
        try:
            draw()
        except OSError as error:
            self._closed = True
            log.info("the terminal is closed (%s); nothing is shown any more", error)


def status_text(status: StatusEvent, transport: TransportEvent, beats_per_bar: int) -> Text:
    """The line itself."""
    bar, beat = divmod(max(transport.beat, 0.0), max(beats_per_bar, 1))
    text = Text("● ", style=COLOURS.get(status.state, "default"), no_wrap=True, overflow="ellipsis")
    text.append(f"{status.state:<10} ")
    position = f"{int(bar) + 1}.{int(beat) + 1}" if transport.rolling else "stopped"
    plain = f"{status.model}  {transport.bpm:g} bpm ({transport.source})  bar {position}"
    if status.queued:
        plain += f"  {status.queued} waiting"
    if status.rtf > 0:
        plain += f"  {status.rtf:.1f} x real time"
    text.append(plain, style="default")
    for count, word in ((status.underruns, "underruns"), (status.overruns, "overruns"), (status.dropped, "dropped")):
        if count:
            text.append(f"  {count} {word}", style="yellow")
    return text


def event_line(event: Event) -> str:
    """An event in words; "" for those that come too often or say nothing to a player."""
    match event:
        case JobEvent(kind="playing"):
            return f"{event.job}: plays {event.clip} at beat {event.beat:g}"
        case JobEvent(kind="done"):
            return f"{event.job}: {event.clip}, {event.seconds:.2f} s, {event.file}"
        case JobEvent(kind="error"):
            return f"{event.job}: failed: {event.what}"
        case JobEvent(kind="cancelled"):
            return f"{event.job}: cancelled"
        case CaptureEvent(kind="started"):
            return f"capturing {event.take}"
        case CaptureEvent(kind="take"):
            return f"take {event.take}: {event.seconds:.2f} s, peak {event.peak_db:.1f} dB"
        case ClipEvent(kind="deleted"):
            return f"deleted {event.clip}"
        case NoticeEvent():
            return event.what if event.level == "info" else f"{event.level}: {event.what}"
        case _:
            return ""
