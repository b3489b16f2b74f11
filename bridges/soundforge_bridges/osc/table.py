"""Every OSC address of SoundForge, once: arguments, ranges, defaults, reply, and the session's method behind it.

The server, `/soundforge/commands`, `docs/osc.md` and the tests are derived from this table. The four rows without a
handler concern the connection itself and are the server's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from soundforge.library_pads import MODES
from soundforge.requests import MAX_BPM, MAX_SECONDS, MIN_BPM
from soundforge_bridges.osc import handlers
from soundforge_bridges.osc.arguments import REQUIRED, Argument
from soundforge_bridges.osc.handlers import PREFIX, Reply

Handler = Callable[..., Reply]
NAME = "NAME"
MIN_SECONDS = 0.02
MAX_BARS = 1000


@dataclass(frozen=True, slots=True)
class Command:
    """One address. A last part `NAME` stands for any name; it comes first among the handler's arguments.

    `awaits`: address of an answer that comes later as an event; for so many seconds the sender hears of those too.
    """

    address: str
    arguments: tuple[Argument, ...]
    reply: str
    doc: str
    handler: Handler | None = None
    any_arguments: bool = False
    awaits: str = ""
    awaits_seconds: float = 10.0

    @property
    def named(self) -> bool:
        return self.address.endswith("/" + NAME)

    @property
    def signature(self) -> str:
        """The arguments as text, optional ones in brackets: `s:take [f:seconds]`."""
        if self.any_arguments:
            return "..."
        return " ".join(str(a) if a.required else f"[{a}]" for a in self.arguments)


def _whole(name: str, low: float, high: float, default: Any = REQUIRED, absent: str = "") -> Argument:
    return Argument(name, "whole", default, low, high, absent)


def _seconds() -> Argument:
    return Argument("seconds", "number", None, MIN_SECONDS, MAX_SECONDS, "`param/seconds` or `param/bars`")


CLIP = Argument("clip", "name")
ID = Argument("id", "name", "", absent="SoundForge makes one")
NEW_TAKE = Argument("take", "name", "", absent="SoundForge makes one")
TAKE = Argument("take", "name", "", absent="the last take")
PORT = _whole("port", 1, 65535, None, "the sender's")
PAD = _whole("pad", 1, 16)
ASKS = "only asks"
JOB = "job replies"
CLIP_REPLY = f"{PREFIX}/clip s:clip f:seconds f:bpm s:file"
PAD_REPLY = f"{PREFIX}/pad i:pad s:clip i:loop f:gain s:mode"
TRANSPORT_REPLY = f"{PREFIX}/transport s:source f:bpm i:rolling f:beat"
STATUS_REPLY = f"{PREFIX}/status s:state s:model i:queued f:rtf i:underruns i:overruns i:dropped"

DEVICE_REPLY = f"{PREFIX}/device s:name i:rate i:block f:input_ms f:output_ms s:latency_from f:clock_ppm f:drift_ppm"


# --- the table ---------------------------------------------------------------------------------------------

COMMANDS: tuple[Command, ...] = (
    Command(f"{PREFIX}/ping", (), f"{PREFIX}/pong ...", "Is anybody there? The same arguments come back.",
            any_arguments=True),
    Command(f"{PREFIX}/commands", (), f"{PREFIX}/commands s:address s:arguments s:reply s:doc",
            "This table, one message for each address."),
    Command(f"{PREFIX}/subscribe", (PORT,), f"{PREFIX}/subscribed i:port",
            "Events and replies go to the sender's host at that port as well (no port: the sender's)."),
    Command(f"{PREFIX}/unsubscribe", (PORT,), f"{PREFIX}/unsubscribed i:port",
            "Ends a subscription."),
    Command(f"{PREFIX}/status", (), STATUS_REPLY,
            "State: the first that holds of error, loading, generating, capturing, playing, ready.", handlers.status),
    Command(f"{PREFIX}/device", (), DEVICE_REPLY,
            "The sound device that runs: rate, block, latencies and who says so, and how the clocks drift.",
            handlers.device),
    Command(f"{PREFIX}/param/{NAME}", (Argument("value", "value", None, absent=ASKS),), f"{PREFIX}/param/{NAME} value",
            "Sets a parameter for the next requests and, where it can, for running ones; without value asks.",
            handlers.param),
    Command(f"{PREFIX}/condition/{NAME}", (Argument("source", "name", "", absent="clears it"),),
            f"{PREFIX}/condition/{NAME} s:source",
            "Sets a condition to a text, `take:ID` or `clip:ID`; empty clears it.", handlers.condition),
    Command(f"{PREFIX}/capture/start", (NEW_TAKE,), f"{PREFIX}/capture/started s:take",
            "Begins to record the input.", handlers.capture_start),
    Command(f"{PREFIX}/capture/stop", (), f"{PREFIX}/take s:take f:seconds f:peak_db",
            "Ends the recording; the take can be continued from.", handlers.capture_stop, awaits=f"{PREFIX}/take"),
    Command(f"{PREFIX}/capture/bars", (_whole("n", 1, MAX_BARS, 4), NEW_TAKE),
            f"{PREFIX}/capture/started s:take, {PREFIX}/take s:take f:seconds f:peak_db",
            "Records n bars from the next bar line.", handlers.capture_bars),
    Command(f"{PREFIX}/continue", (TAKE, _seconds(), ID), JOB,
            "Goes on from a take (default: the last), `param/seconds` long; plays at the next quantum.",
            handlers.continue_),
    Command(f"{PREFIX}/generate", (Argument("text", "text", None, absent="`param/text`"), _seconds(), ID), JOB,
            "Makes a clip from a text (default: `param/text`).", handlers.generate),
    Command(f"{PREFIX}/generate/endless", (Argument("text", "text", None, absent="`param/text`"), ID), JOB,
            "Makes music from a text until `/soundforge/release`; all of it becomes a clip.",
            handlers.generate_endless),
    Command(f"{PREFIX}/continue/endless", (TAKE, ID), JOB,
            "Goes on from a take until `/soundforge/release`.", handlers.continue_endless),
    Command(f"{PREFIX}/regenerate", (ID,), JOB,
            "The last continuation once more from the same prompt, with another seed.", handlers.regenerate),
    Command(f"{PREFIX}/takeover", (_whole("bars_in", 1, MAX_BARS, 4), _whole("bars_out", 0, MAX_BARS, 0), ID), JOB,
            "Records bars from the next bar line and goes on without a gap; bars_out 0 = until released.",
            handlers.takeover),
    Command(f"{PREFIX}/release", (Argument("id", "name", "", absent="every endless job"),), JOB,
            "Ends a takeover, or another job, that has no end, on the grid.", handlers.release),
    Command(f"{PREFIX}/cancel", (Argument("id", "name"),), f"{PREFIX}/job/cancelled s:id",
            "Cancels one job; `*` cancels all.", handlers.cancel, awaits=f"{PREFIX}/job/cancelled"),
    Command(f"{PREFIX}/clip/play", (CLIP, _whole("loop", 0, 1, 0)), CLIP_REPLY,
            "Plays a clip at the next quantum.", handlers.clip_play),
    Command(f"{PREFIX}/clip/stop", (CLIP, _whole("on_grid", 0, 1, 0)), CLIP_REPLY,
            "Stops a clip at once, or with on_grid 1 at the next quantum.", handlers.clip_stop),
    Command(f"{PREFIX}/clip/list", (), f"{CLIP_REPLY} for each, then {PREFIX}/clip/listed i:count",
            "All clips, oldest first.", handlers.clip_list),
    Command(f"{PREFIX}/clip/info", (CLIP,), CLIP_REPLY, "One clip.", handlers.clip_info),
    Command(f"{PREFIX}/clip/delete", (CLIP,), CLIP_REPLY, "Deletes a clip and its file.", handlers.clip_delete),
    Command(f"{PREFIX}/clip/pad", (CLIP, _whole("pad", 1, 16)), CLIP_REPLY,
            "Puts a clip on a pad, from which MIDI plays it.", handlers.clip_pad),
    Command(f"{PREFIX}/pad/play", (PAD, Argument("velocity", "number", 1.0, 0, 1)), PAD_REPLY,
            "Presses a pad: its clip starts at the next quantum (mode toggle: or stops).", handlers.pad_play),
    Command(f"{PREFIX}/pad/stop", (PAD,), PAD_REPLY, "Stops a pad's clip at the next quantum.", handlers.pad_stop),
    Command(f"{PREFIX}/pad/set", (PAD, _whole("loop", 0, 1, 0), Argument("gain", "number", 1.0, 0, 4),
                                  Argument("mode", "text", "retrigger")), PAD_REPLY,
            "How a pad plays. Mode: " + "; ".join(f"`{name}`: {what}" for name, what in MODES.items()) + ".",
            handlers.pad_set),
    Command(f"{PREFIX}/pad/clear", (PAD,), PAD_REPLY, "Takes the clip off a pad.", handlers.pad_clear),
    Command(f"{PREFIX}/pad/list", (), f"{PAD_REPLY} for each", "All sixteen pads.", handlers.pad_list),
    Command(f"{PREFIX}/transport", (), TRANSPORT_REPLY, "Asks for the transport.", handlers.transport),
    Command(f"{PREFIX}/transport/tempo", (Argument("bpm", "number", None, MIN_BPM, MAX_BPM, ASKS),),
            TRANSPORT_REPLY, "Sets the tempo; without argument asks.", handlers.tempo),
    Command(f"{PREFIX}/transport/start", (), TRANSPORT_REPLY, "Lets the transport roll.", handlers.start),
    Command(f"{PREFIX}/transport/stop", (), TRANSPORT_REPLY, "Stops the transport.", handlers.stop),
    Command(f"{PREFIX}/transport/position", (Argument("beat", "number", None, 0, 1e9, ASKS),), TRANSPORT_REPLY,
            "Goes to a beat; without argument asks.", handlers.position),
    Command(f"{PREFIX}/transport/source", (Argument("source", "text", "", absent=ASKS),), TRANSPORT_REPLY,
            "What drives the transport: internal, midi, link or jack; without argument asks.", handlers.source),
    Command(f"{PREFIX}/transport/signature",
            (_whole("beats_per_bar", 1, 64, None, ASKS), _whole("beat_unit", 1, 64, 4)), TRANSPORT_REPLY,
            "Sets the metre; without argument asks.", handlers.signature),
    Command(f"{PREFIX}/model", (Argument("name", "text", "", absent=ASKS),), STATUS_REPLY,
            "Loads another model, by name, while the sound goes on; status again when it is ready. Of several that are "
            "asked for meanwhile the last one comes next. Folders are named at the start (`--models`). Without name "
            "asks.",
            handlers.model, awaits=f"{PREFIX}/status", awaits_seconds=300.0),
    Command(f"{PREFIX}/panic", (), STATUS_REPLY, "Everything silent at once, all jobs cancelled.", handlers.panic),
)

EXACT = {command.address: command for command in COMMANDS if not command.named}
NAMED = {command.address.removesuffix(NAME): command for command in COMMANDS if command.named}


def find(address: str) -> tuple[Command, tuple[str, ...]] | None:
    """The command at an address and the NAME in it; None when there is none. Exact: no patterns are matched."""
    if address in EXACT:
        return EXACT[address], ()
    for prefix, command in NAMED.items():
        if address.startswith(prefix) and len(address) > len(prefix):
            return command, (address[len(prefix):],)
    return None
