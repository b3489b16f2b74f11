"""Parts of plugins as the engine gets them: every call goes through a `Guard`, and what comes back is checked.

The checks are what the engine relies on: shapes, types, no NaN. Everything else of a part is reached through its
wrapper. Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from soundforge.audio import Waveform
from soundforge.errors import AudioError
from soundforge.guards import Guard
from soundforge.interfaces import BringsProjection, Condition, ConditionContext, Conditioner, Projection, Slot


class GuardedConditioner:
    """A conditioner whose features are checked; all else of it is reached through it."""

    def __init__(self, inner: Conditioner, slot: Slot, guard: Guard) -> None:
        self._inner, self._slot, self.guard = inner, slot, guard
        if not isinstance(inner, Conditioner):
            raise guard.error(f"was built as a {type(inner).__name__} without prepare or encode; expected a "
                              "soundforge.interfaces.Conditioner")

    def prepare(self, value: Any, context: ConditionContext) -> Any:
        """As the conditioner's."""
        return self.guard.call("prepare", lambda: self._inner.prepare(value, context))

    def encode(self, prepared: Sequence[Any | None], context: ConditionContext) -> Condition:
        """As the conditioner's; raises PluginError for features of another shape, type, or with NaN."""
        made = self.guard.call("encode", lambda: self._inner.encode(prepared, context))
        self._check(made, len(prepared))
        return made

    def _check(self, made: Any, rows: int) -> None:
        import torch

        slot = self._slot
        if not isinstance(made, Condition):
            raise self.guard.error(f"gave a {type(made).__name__}, expected a soundforge.interfaces.Condition")
        values, mask = made.values, made.mask
        if not isinstance(values, torch.Tensor) or not isinstance(mask, torch.Tensor):
            raise self.guard.error(f"gave {type(values).__name__} and {type(mask).__name__}, expected tensors")
        if values.ndim != 3 or values.shape[0] != rows or values.shape[2] != slot.width or \
                mask.shape != values.shape[:2]:
            raise self.guard.error(f"gave values {list(values.shape)} with mask {list(mask.shape)}, expected "
                                   f"[{rows}, length, {slot.width}] with [{rows}, length] for slot {slot.name!r}")
        if not values.is_floating_point() or mask.dtype != torch.bool:
            raise self.guard.error(f"gave values of {values.dtype} with a mask of {mask.dtype}, expected torch.float32 "
                                   "and torch.bool")
        # What is masked may hold anything: it is replaced by zeros after the projection.
        if not bool(torch.isfinite(values).all()) and not bool(torch.isfinite(values[mask]).all()):
            raise self.guard.error(f"gave NaN or infinite features for slot {slot.name!r}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class GuardedProjecting(GuardedConditioner):
    """One that brings trained projection weights along."""

    def projection(self) -> Projection:
        """As the conditioner's."""
        made: Projection = self.guard.call("projection", self._inner.projection)  # type: ignore[attr-defined]
        return made


def guarded_conditioner(inner: Conditioner, slot: Slot, guard: Guard) -> GuardedConditioner:
    """A conditioner behind its guard; raises PluginError for what is none."""
    kind = GuardedProjecting if isinstance(inner, BringsProjection) else GuardedConditioner
    return kind(inner, slot, guard)


class GuardedDecoder:
    """A decoder whose sound is checked."""

    def __init__(self, inner: Any, codec: Any, guard: Guard) -> None:
        self._inner, self._codec, self.guard = inner, codec, guard

    def decode(self, codes: Any, **keywords: Any) -> Any:
        """As the decoder's; raises PluginError for sound of another shape, or with NaN."""
        import torch

        limit = 60.0 + 10.0 * codes.shape[-1] / self._codec.frame_rate_hz  # diffusion takes its time
        made = self.guard.call("decode", lambda: self._inner.decode(codes, **keywords), limit)
        hop = self._codec.hop_length
        if not isinstance(made, torch.Tensor) or made.ndim != 3 or made.shape[0] != codes.shape[0] or \
                made.shape[1] != self._codec.channels or abs(made.shape[2] - codes.shape[-1] * hop) >= hop:
            shape = list(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
            raise self.guard.error(f"gave {shape} for codes {list(codes.shape)}, expected [{codes.shape[0]}, "
                                   f"{self._codec.channels}, {codes.shape[-1] * hop}]")
        if not bool(torch.isfinite(made).all()):
            raise self.guard.error("gave NaN or infinite samples")
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class GuardedCodec:
    """A third party's codec: what its calls and its streams raise gets its name, sound with NaN is refused.

    Pieces of a stream have the guard's limit; what is coded in one go may take longer the longer it is.
    """

    def __init__(self, inner: Any, guard: Guard) -> None:
        self._inner, self.guard = inner, guard
        # Not left to __getattr__: a protocol looks for them on the object itself.
        self.sample_rate: int = inner.sample_rate
        self.channels: int = inner.channels
        self.frame_rate_hz: float = inner.frame_rate_hz
        self.hop_length: int = inner.hop_length
        self.n_codebooks: int = inner.n_codebooks
        self.codebook_size: int = inner.codebook_size

    def encode(self, *arguments: Any, **keywords: Any) -> Any:
        return self.guard.call("encode", lambda: self._inner.encode(*arguments, **keywords), self._limit(arguments))

    def decode(self, *arguments: Any, **keywords: Any) -> Any:
        return _finite(self.guard.call("decode", lambda: self._inner.decode(*arguments, **keywords),
                                       self._limit(arguments)), self.guard)

    def decode_latent(self, *arguments: Any, **keywords: Any) -> Any:
        return self.guard.call("decode_latent", lambda: self._inner.decode_latent(*arguments, **keywords),
                               self._limit(arguments))

    def _limit(self, arguments: tuple[Any, ...]) -> float:
        """Seconds for what is coded in one go: a wave, a tensor of samples, codes, or what `encode` gave."""
        given = arguments[0] if arguments else None
        given = getattr(given, "codes", given)
        rate = self.frame_rate_hz if "int" in str(getattr(given, "dtype", "")) else self.sample_rate
        length = getattr(given, "seconds", None) or (tuple(getattr(given, "shape", ())) or (0,))[-1] / rate
        return 30.0 + 10.0 * float(length)

    def stream(self, batch_size: int = 1) -> Any:
        return GuardedStream(self.guard.call("stream", lambda: self._inner.stream(batch_size)), self.guard)

    def to(self, device: Any) -> Any:
        self._inner = self.guard.call("to", lambda: self._inner.to(device))
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class GuardedStream:
    """A stream of a third party's codec."""

    def __init__(self, inner: Any, guard: Guard) -> None:
        self._inner, self._guard = inner, guard
        self.lookahead_frames: int = inner.lookahead_frames

    def encode(self, samples: Any) -> Any:
        return self._guard.call("encode", lambda: self._inner.encode(samples))

    def finish_encode(self) -> Any:
        return self._guard.call("finish_encode", self._inner.finish_encode)

    def decode(self, codes: Any) -> Any:
        return _finite(self._guard.call("decode", lambda: self._inner.decode(codes)), self._guard)

    def finish_decode(self) -> Any:
        return _finite(self._guard.call("finish_decode", self._inner.finish_decode), self._guard)

    def clone(self) -> Any:
        return GuardedStream(self._guard.call("clone", self._inner.clone), self._guard)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _finite(samples: Any, guard: Guard) -> Any:
    import torch

    if isinstance(samples, torch.Tensor) and not bool(torch.isfinite(samples).all()):
        raise guard.error("gave NaN or infinite samples")
    return samples


STILL_SECONDS = 120.0
"""How long a model that makes a clip as a whole may give no sign of life (no chunk, no progress) in the live server."""


def guarded_stream(stream: Callable[..., Iterator[Any]], guard: Guard) -> Callable[..., Iterator[Any]]:
    """`GenerativeModel.stream`, every chunk asked for through the guard; its progress is a sign of life."""

    def guarded(*arguments: Any, **keywords: Any) -> Iterator[Any]:
        signs, progress = 0, keywords.get("progress")

        def told(done: int, total: int) -> None:
            nonlocal signs
            signs += 1
            if progress is not None:
                progress(done, total)

        if "progress" in keywords:
            keywords["progress"] = told

        def ask(step: Callable[[], Any]) -> Any:
            return guard.call("stream", step, STILL_SECONDS, lambda: signs)

        chunks = ask(lambda: iter(stream(*arguments, **keywords)))
        while (chunk := ask(lambda: next(chunks, None))) is not None:
            yield chunk

    return guarded


def guarded_processor(process: Callable[[Waveform], Waveform], guard: Guard) -> Callable[[Waveform], Waveform]:
    """A clip processor that is called by its guard and gives a Waveform, or a PluginError."""

    def guarded(wave: Waveform) -> Waveform:
        try:
            made = guard.call("processing", lambda: process(wave), 30.0 + wave.seconds)
        except AudioError as error:
            # A Waveform refuses NaN when it is made: the plugin's, unless it refused what came.
            if "NaN" in str(error):
                raise guard.error("gave NaN or infinite samples") from error
            raise
        if not isinstance(made, Waveform):
            raise guard.error(f"gave a {type(made).__name__}, expected a soundforge.Waveform")
        if made.channels != wave.channels or made.n_samples == 0:
            raise guard.error(f"gave {made.channels} channels of {made.n_samples} samples, expected {wave.channels} "
                              "channels with at least one sample")
        return made

    return guarded
