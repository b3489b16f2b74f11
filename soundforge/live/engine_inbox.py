"""Messages on their way to the engine: in their order, and as few as can be, however many are sent.

A network can send commands faster than a model makes steps, or while one is being loaded. What a later message makes
superfluous does not wait beside it, so what waits is bounded by what is asked for (jobs, prompts, one change of model)
and not by how often.

Threading: thread-safe; `put` never waits.
"""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from soundforge.live.engine_protocol import (
    CancelJob,
    DropPrompt,
    EndPrompt,
    FeedPrompt,
    LoadModel,
    MuteJob,
    OpenPrompt,
    StartJob,
    StopJob,
    UpdateJob,
)

Key = tuple[type, str]


class EngineInbox:
    """A queue in which one message stands for all that say the same.

    - Changes of one job become one change, with the newest of each value.
    - Of several models the last one is loaded, in the place of the first.
    - A job is muted, stopped or cancelled once.
    - A prompt that is dropped before it was looked at takes its audio with it.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, object] = OrderedDict()
        self._places: dict[Key, int] = {}
        self._prompts: dict[str, list[int]] = {}
        self._last = 0
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: object) -> None:
        """Add a message, or let one that waits stand for it."""
        with self._changed:
            if not self._joined(message):
                self._last += 1
                self._waiting[self._last] = message
                self._remember(message, self._last)
                self._changed.notify()

    def get(self, timeout: float | None = None) -> object:
        """The oldest message, waited for (None: for ever; 0: not at all).

        Raises:
            queue.Empty: nothing came in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, timeout):
                raise queue.Empty
            place, message = self._waiting.popitem(last=False)
            self._forget(message, place)
            return message

    # --- what stands for what, under the lock ---

    def _joined(self, message: object) -> bool:
        """Whether a message that waits stands for this one from now on."""
        if isinstance(message, DropPrompt):
            # A prompt's first message opens it: where that one still waits, the engine has never heard of it.
            places = self._prompts.pop(message.prompt, [])
            for place in places:
                del self._waiting[place]
            return bool(places) or (DropPrompt, message.prompt) in self._places
        key = _key(message)
        if key is None or key not in self._places:
            return False
        place = self._places[key]
        earlier = self._waiting[place]
        if isinstance(message, UpdateJob) and isinstance(earlier, UpdateJob):
            self._waiting[place] = UpdateJob(message.job, merged_changes(earlier.changes, message.changes))
        elif isinstance(message, LoadModel):
            self._waiting[place] = message
        return True

    def _remember(self, message: object, place: int) -> None:
        if isinstance(message, StartJob):
            # An id that is used again: what is said from here on is for the new job.
            for kind in (UpdateJob, MuteJob, StopJob, CancelJob):
                self._places.pop((kind, message.job), None)
            self._prompts.pop(message.prompt, None)  # it needs its prompt, whether that is dropped after it or not
        elif isinstance(message, OpenPrompt):
            self._prompts[message.prompt] = [place]
        elif isinstance(message, (FeedPrompt, EndPrompt)) and message.prompt in self._prompts:
            self._prompts[message.prompt].append(place)
        key = _key(message)
        if key is not None:
            self._places[key] = place

    def _forget(self, message: object, place: int) -> None:
        key = _key(message)
        if key is not None and self._places.get(key) == place:
            del self._places[key]
        if isinstance(message, OpenPrompt) and self._prompts.get(message.prompt, [0])[0] == place:
            del self._prompts[message.prompt]  # the engine knows it from here on


def _key(message: object) -> Key | None:
    """Messages of one key can stand for each other."""
    match message:
        case UpdateJob() | MuteJob() | StopJob() | CancelJob():
            return type(message), message.job
        case DropPrompt():
            return DropPrompt, message.prompt
        case LoadModel():
            return LoadModel, ""
        case _:
            return None


def merged_changes(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Two changes of a job as one; each condition has its newest value, and tempi lead from the first to the last."""
    merged = {**earlier, **later}
    if "tempo" in earlier and "tempo" in later:
        merged["tempo"] = replace(later["tempo"], before=earlier["tempo"].before)
    conditions = {**earlier.get("conditions", {}), **later.get("conditions", {})}
    if conditions:
        merged["conditions"] = conditions
    return merged
