"""Parameters and conditions of a session: checked against the model and the plugins, and given to what runs.

Threading: belongs to the event loop.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from soundforge.errors import ConditionError, RequestError
from soundforge.live.params import GUIDANCE, MAX_WEIGHTS
from soundforge.live.request_builder import sampling_from
from soundforge.live.session_clips import ClipPart
from soundforge.live.session_jobs import JobPart
from soundforge.live.session_model import ModelPart
from soundforge.live.session_room import Room
from soundforge.processing import processor_calls
from soundforge.requests import ParamEvent

SAMPLING = ("temperature", "top_k", "top_p", "cfg")


class ParamPart:
    """See the module.

    Args:
        room: what the parts share.
        model: says which slots there are.
        jobs, clips: what runs, and what conditions may be taken from.
        conditions: the conditions that are set, by name; changed here only.
        condition_names: conditions that plugins registered, beside the model's slots.
        processor_names: clip processors that plugins registered; None = not known, all are taken.
    """

    def __init__(self, room: Room, model: ModelPart, jobs: JobPart, clips: ClipPart, conditions: dict[str, str],
                 condition_names: Collection[str], processor_names: Collection[str] | None) -> None:
        self._room, self._model, self._jobs, self._clips = room, model, jobs, clips
        self._conditions = conditions
        self._condition_names, self._processor_names = tuple(condition_names), processor_names

    def set_param(self, name: str, value: Any) -> None:
        """Set a parameter; it acts on the next requests and where it can at once. Raises RequestError."""
        params, jobs = self._room.params, self._jobs
        if name == "processors" and isinstance(value, str):
            self._check_processors(value)
        if name.startswith(GUIDANCE) and self._model.slots and name.removeprefix(GUIDANCE) not in self._weighted():
            listed = ", ".join(sorted(self._weighted()))
            raise RequestError(f"param came as {name[:80]!r}, expected {GUIDANCE} and one of {listed} (what "
                               f"{self._model.name!r} and the plugins know)")
        before = params.get(name)
        checked = params.set(name, value)
        if checked != before:
            self._room.emit(ParamEvent(name, checked))
        if name == "gain":
            self._room.audio.set_master(float(checked))
        elif name == "monitor":
            jobs.restore_monitor()
        elif name in SAMPLING:
            jobs.changes.update(sampling=sampling_from(params))
        elif name.startswith(GUIDANCE):
            jobs.changes.update(guidance=params.guidance())
        elif name == "text":
            jobs.changes.change_text(str(checked))
        elif name in ("text_b", "morph"):
            jobs.changes.change_text()

    def set_condition(self, name: str, source: str) -> None:
        """Set a condition to a text, `take:ID`, `clip:ID`, or "" to clear it.

        Raises:
            ConditionError: the model has no slot of that name. LibraryError: no such take or clip.
        """
        known = sorted(self._known())
        if (name not in known) if self._model.slots else not name.isidentifier():
            raise ConditionError(f"condition came as {name[:80]!r}, expected one of {', '.join(known) or 'text, ...'} "
                                 f"(what {self._model.name!r} and the plugins know)")
        if name == "text":
            self.set_param("text", source)
            return
        if source.startswith("take:") and not self._jobs.captures.takes.known(source[5:]):
            self._room.library.info("take", source[5:])
        if source.startswith("clip:"):
            self._clips.info(source[5:])
        if source and name not in self._conditions and len(self._conditions) >= MAX_WEIGHTS:
            raise ConditionError(f"condition {name[:80]!r} came, and {MAX_WEIGHTS} are set already; clear one first")
        if source:
            self._conditions[name] = source
        else:
            self._conditions.pop(name, None)
        self._jobs.changes.change_condition(name, source)

    def fit(self, defaults: Mapping[str, Any]) -> None:
        """Another model serves: what it knows nothing of would be an error in every job from now on."""
        params, room = self._room.params, self._room
        gone = params.forget_guidance(self._weighted()) if self._model.slots else []
        for name in [*gone, *params.apply_defaults(defaults)]:
            room.emit(ParamEvent(name, params.get(name)))
        for name in [name for name in self._conditions if self._model.slots and name not in self._known()]:
            del self._conditions[name]
            room.notice("warning", f"the condition {name[:80]!r} is cleared: {self._model.name!r} has no such slot")

    def _known(self) -> set[str]:
        return {*self._model.slots, *self._condition_names}

    def _weighted(self) -> set[str]:
        """The names that may have a weight of guidance, `all` among them."""
        return self._known() | {"all"}

    def _check_processors(self, text: str) -> None:
        known = self._processor_names
        for name, _ in processor_calls(text):
            if known is not None and name not in known:
                raise RequestError(f"clip processor came as {name[:80]!r}, expected one of "
                                   f"{', '.join(sorted(known)) or 'none is loaded'}")
