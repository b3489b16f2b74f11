"""The steps of single generations on a GPU: the state that was stepped last stays where a captured graph works.

A graph knows addresses, not states. So a state moves into the graph's buffers when its turn comes and out again when
another one's does; within one generation it never moves. Chosen for models on CUDA; works on every device.
"""

from __future__ import annotations

import threading
import weakref

import torch
from torch import Tensor

from soundforge.nn.kv_cache import DecodeState
from soundforge.nn.language_model import NOTHING_FUSED, FusedInputs, LanguageModel
from soundforge.nn.static_step import StaticStep
from soundforge.nn.step_graphs import SPAN_BUCKET, StepGraphs


class _Place:
    """Buffers for states of so many rows, and whose they are at the moment."""

    def __init__(self, lm: LanguageModel, rows: int, capacity: int, capture: bool | None) -> None:
        self.step = StaticStep(lm, rows, capacity)
        self.graphs = StepGraphs(self.step, capture)
        self._holds: weakref.ref[DecodeState] | None = None
        self._cross: list[Tensor] | None = None

    def take(self, state: DecodeState) -> None:
        rows = range(self.step.rows)
        held = None if self._holds is None else self._holds()
        if held is not state:
            self.let_go()
            void = self.step.load(state, rows)
            state.keys_values = list(self.step.keys_values)
            self._holds = weakref.ref(state)
        elif self._cross is not state.cross_keys_values:
            void = self.step.load_cross(state, rows)
        else:
            return
        self._cross = state.cross_keys_values
        if void:
            self.graphs.forget()

    def let_go(self) -> None:
        """Whose the buffers are gets a copy of its own."""
        held = None if self._holds is None else self._holds()
        if held is not None:
            held.keys_values = [cache.clone() for cache in self.step.keys_values]
        self._holds = None


class ResidentSteps:
    """Stands in for `LanguageModel.step`. Thread-safe: steps take turns.

    Args:
        lm: the model.
        capture: None = where the model is on CUDA.
    """

    def __init__(self, lm: LanguageModel, capture: bool | None = None) -> None:
        self._lm = lm
        self._capture = capture
        self._places: dict[int, _Place] = {}
        self._lock = threading.Lock()

    @classmethod
    def suits(cls, lm: LanguageModel) -> bool:
        """Whether a model's steps are better run this way."""
        return lm.out_norm.weight.device.type == "cuda"

    @torch.inference_mode()
    def step(self, codes: Tensor, state: DecodeState, fused: FusedInputs = NOTHING_FUSED,
             sum_at: Tensor | None = None) -> Tensor:
        """As `LanguageModel.step`; several columns at once, and the first of all, go through that itself."""
        with self._lock:
            if codes.shape[-1] != 1 or state.position == 0 or state.position >= state.capacity:
                return self._lm.step(codes, state, fused, sum_at)
            place = self._place(codes.shape[0], state.capacity)
            place.take(state)
            place.step.codes.copy_(codes)
            place.step.positions.fill_(state.position)
            place.step.sum_at.zero_() if sum_at is None else place.step.sum_at.copy_(sum_at)
            state.position += 1
            return place.graphs.run(codes.shape[0], state.position).clone()

    def _place(self, rows: int, capacity: int) -> _Place:
        place = self._places.get(rows)
        if place is None or place.step.capacity < capacity:
            if place is not None:
                place.let_go()
            rounded = -(-capacity // SPAN_BUCKET) * SPAN_BUCKET
            place = self._places[rows] = _Place(self._lm, rows, rounded, self._capture)
        return place
