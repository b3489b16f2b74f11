"""A model without a network: it continues with tones, so that a test can see in the sound what was played when.

It stands behind the same protocol as the real one (`EngineSetup(factory="soundforge.testing.tone_engine:load")`), in
the engine process or in this one. New audio is a sine whose frequency tells the seed: `tone_hz(seed)`; the lead before
it is the prompt's own end. `options`: `rtf` (pace, 0 = as fast as it goes), `load_seconds`, `sample_rate`,
`channels`, `fail` (text: every job fails with it), `refuse` (no job with this text begins), `die` (True: the process
ends in the middle of a job), `die_while` (a file: as long as it exists the process ends while it loads), `eat_bytes`
(every job with the text "hungry" takes so much memory).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundforge.audio import Samples
from soundforge.clip import Clip
from soundforge.errors import AudioError, CheckpointError, JobError
from soundforge.live.engine_protocol import EngineSetup
from soundforge.requests import CancelToken, GenerateRequest

CHUNK_SECONDS = 0.06
AMPLITUDE = 0.25


def tone_hz(seed: int) -> float:
    """The frequency that stands for a seed: whole multiples of 50 Hz from 200 to 1750."""
    return 200.0 + 50.0 * (seed % 32)


def load(setup: EngineSetup, name: str) -> ToneModel:
    """The factory. A model called "missing" is not there."""
    options = dict(setup.options)
    time.sleep(float(options.get("load_seconds", 0.0)))
    if options.get("die_while") and Path(options["die_while"]).exists():
        os._exit(3)
    if name == "missing":
        raise CheckpointError("model came as 'missing', which is not there; expected 'tone'")
    return ToneModel(name, options)


@dataclass(frozen=True)
class ToneChunk:
    """Samples `[C, n]` and codes `[1, m]`."""

    samples: Samples
    codes: Any


class ToneModel:
    """See the module."""

    slots = ("text",)

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name, self.options = name, options
        self.sample_rate = int(options.get("sample_rate", 32_000))
        self.channels = int(options.get("channels", 1))
        self.defaults: Mapping[str, Any] = dict(options.get("defaults", {}))

    def open_prompt(self, request: GenerateRequest) -> TonePrompt:
        return TonePrompt(self)

    def generate(self, request: GenerateRequest, *, endless: bool, cancel: CancelToken) -> ToneContinuation:
        if request.text and request.text == self.options.get("refuse"):
            raise JobError(f"text came as {request.text!r}, which is refused")
        return ToneContinuation(self, request, np.zeros((self.channels, 0), np.float32), endless, cancel)

    def finisher(self, request: GenerateRequest) -> Callable[[Clip], Clip]:
        """Clips stay as they are."""
        return lambda clip: clip

    def close(self) -> None:
        return


class TonePrompt:
    """Keeps what it is fed."""

    def __init__(self, model: ToneModel) -> None:
        self._model = model
        self._own: Samples = np.zeros((model.channels, 0), np.float32)

    @property
    def n_samples(self) -> int:
        return int(self._own.shape[1])

    def feed(self, samples: Samples) -> int:
        """Take samples `[C, n]` at the model's rate."""
        assert samples.shape[0] == self._model.channels
        self._own = np.concatenate([self._own, samples], axis=1)
        return self.n_samples

    def continue_(self, request: GenerateRequest, *, endless: bool, lead_samples: int,
                  cancel: CancelToken) -> ToneContinuation:
        """A tone after the prompt's last `lead_samples`."""
        if not self.n_samples:
            raise AudioError("0 samples are captured, expected at least one; capture longer")
        lead = self._own[:, max(0, self.n_samples - lead_samples):] if lead_samples else self._own[:, :0]
        return ToneContinuation(self._model, request, lead, endless, cancel)


class ToneContinuation:
    """Lead, then the tone."""

    def __init__(self, model: ToneModel, request: GenerateRequest, lead: Samples, endless: bool,
                 cancel: CancelToken) -> None:
        self.request, self.lead_samples = request, lead.shape[1]
        self.changes: list[dict[str, Any]] = []
        self._model, self._lead, self._endless, self._cancel = model, lead, endless, cancel
        self._stopped = False

    def __iter__(self) -> Iterator[ToneChunk]:
        model = self._model
        if model.options.get("fail"):
            raise JobError(str(model.options["fail"]))
        if model.options.get("eat_bytes") and self.request.text == "hungry":
            np.ones(int(model.options["eat_bytes"]), np.uint8)
        if self.lead_samples:
            yield ToneChunk(self._lead, None)
        rate, made = model.sample_rate, 0
        total = round(self.request.new_seconds * rate)
        while (self._endless or made < total) and not self._stopped:
            self._cancel.raise_if_cancelled()
            n = round(CHUNK_SECONDS * rate) if self._endless else min(round(CHUNK_SECONDS * rate), total - made)
            if model.options.get("die") and made > rate:
                os._exit(3)
            pace = float(model.options.get("rtf", 0.0))
            if pace:
                time.sleep(n / rate / pace)
            phase = 2 * np.pi * tone_hz(self.request.seed or 0) * (made + np.arange(n)) / rate
            wave = (AMPLITUDE * np.sin(phase)).astype(np.float32)
            yield ToneChunk(np.repeat(wave[None], model.channels, axis=0), np.zeros((1, max(n // 640, 1)), np.int64))
            made += n

    def update(self, **changes: Any) -> None:
        """Record the change."""
        self.changes.append(changes)

    def stop(self) -> None:
        self._stopped = True
