"""The model that serves: loaded by its factory, replaced when another one is there, kept when that cannot be loaded.

Threading: belongs to the thread that owns the model. This module imports no torch.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable

from soundforge.errors import JobError
from soundforge.live.engine_failures import one_line
from soundforge.live.engine_protocol import EngineFailed, EngineLoading, EngineReady, EngineSetup
from soundforge.live.live_model import LiveModel


def resolve_factory(name: str) -> Callable[[EngineSetup, str], LiveModel]:
    """The function named `module:function`."""
    module, _, function = name.partition(":")
    found: Callable[[EngineSetup, str], LiveModel] = getattr(importlib.import_module(module), function)
    return found


class ServingModel:
    """See the module.

    Args:
        setup: how models are loaded.
        emit: takes events.
        before_change: called when another model is there, before the old one is closed: what was made with it ends.
    """

    def __init__(self, setup: EngineSetup, emit: Callable[[object], None], before_change: Callable[[], None]) -> None:
        self._setup, self._emit, self._before_change = setup, emit, before_change
        self._model: LiveModel | None = None

    def get(self) -> LiveModel:
        """Raises JobError while none is loaded."""
        if self._model is None:
            raise JobError("no model is loaded; load one that can be, with /soundforge/model or --model")
        return self._model

    def load(self, name: str) -> None:
        """Load a model; the old one serves until then, and on if it fails, which is told."""
        self._emit(EngineLoading(name))
        began = time.perf_counter()
        try:
            model = resolve_factory(self._setup.factory)(self._setup, name)
        except Exception as error:
            self._emit(EngineFailed(name, one_line(error), serving=self._model is not None))
            return
        self._before_change()
        self.close()
        self._model = model
        self._emit(EngineReady(model.name, model.sample_rate, model.channels, time.perf_counter() - began,
                               model.slots, dict(model.defaults)))

    def close(self) -> None:
        """Let go of it."""
        old, self._model = self._model, None
        if old is not None:
            old.close()
