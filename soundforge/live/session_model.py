"""The model of a session: which one is loaded, which one serves, and how the engine stands.

Threading: belongs to the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from soundforge.live.engine_protocol import (
    ChangeRefused,
    EngineFailed,
    EngineLoading,
    EngineLost,
    EngineReady,
    LoadModel,
    PromptFailed,
)
from soundforge.live.model_names import resolve_model
from soundforge.live.session_jobs import JobPart
from soundforge.live.session_room import Room

EngineState = Literal["loading", "ready", "error"]


class ModelPart:
    """See the module.

    Args:
        room: what the parts share.
        jobs: told of what the engine says about them.
        model: what the engine loads first.
        folders: further models that may be asked for by their last name.
        ready: told of a model that serves from now on.
        changed: called when the state, or the model, is another one.

    Attributes:
        name: of the model that serves, or that is being loaded.
        state: of the engine.
        slots: of the model that serves; () = none has been loaded yet.
    """

    def __init__(self, room: Room, jobs: JobPart, model: str, folders: Sequence[str], *,
                 ready: Callable[[EngineReady], None], changed: Callable[[], None]) -> None:
        self._room, self._jobs, self._ready, self._changed = room, jobs, ready, changed
        self.name = self._serving = model
        self.state: EngineState = "loading"
        self.slots: tuple[str, ...] = ()
        self._known = (model, *folders)
        self._failing = False

    def load(self, name: str) -> None:
        """Another model, while the sound goes on; of several that are asked for meanwhile the last one comes next.
        Raises RequestError."""
        self._room.engine.send(LoadModel(resolve_model(name, self._known)))

    def on_engine(self, event: object) -> None:
        """What the engine tells; what concerns one job goes on to the jobs."""
        takes, room = self._jobs.captures.takes, self._room
        match event:
            case EngineLoading():
                self.name = event.model
                self.state = "error" if self._failing else "loading"
            case EngineReady():
                self._failing = False
                self.name = self._serving = event.model
                self.state, self.slots = "ready", event.slots
                takes.engine_forgot()
                self._ready(event)
            case EngineFailed():
                self.state = "ready" if event.serving else "error"
                self.name = self._serving if event.serving else event.model
                room.notice("error", event.what)
            case EngineLost():
                self._failing = event.failing
                self.state = "error" if event.failing else "loading"
                takes.engine_forgot()
                if event.tell:
                    room.notice("error", event.what)
                self._jobs.runner.engine_lost(event.what)
            case PromptFailed():
                takes.prompt_failed(event.prompt)
                room.notice("error", f"take {event.prompt!r} cannot be used as a prompt: {event.what}")
            case ChangeRefused():
                room.notice("warning", f"{event.job} plays on unchanged: {event.what}")
            case _:
                self._jobs.runner.on_engine(event)
                return
        self._changed()
