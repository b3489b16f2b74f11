"""From parameters, conditions and transport to a `GenerateRequest`. Pure; belongs to the event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soundforge.blend import Blend
from soundforge.chord_names import in_beats
from soundforge.live.params import ParamValues
from soundforge.live.transport import Transport
from soundforge.processing import decoder_call, model_options
from soundforge.requests import GenerateRequest, SamplingParams


def sampling_from(params: ParamValues) -> SamplingParams:
    """The sampling parameters as they stand."""
    return SamplingParams(temperature=params.number("temperature"), top_k=int(params.number("top_k")),
                          top_p=params.number("top_p"), cfg=params.number("cfg"))


def morphed_text(params: ParamValues, text: str | None) -> str | Blend | None:
    """The text, or what lies between it and `text_b` where `morph` stands; None = unconditional."""
    other, amount = params.text("text_b"), params.number("morph")
    return Blend(text or "", other, amount) if other and amount > 0 else text or None


def build_request(params: ParamValues, transport: Transport, conditions: Mapping[str, Any], *, text: str | None = None,
                  seconds: float | None = None, bars: float | None = None, tempo_known: bool = True,
                  decoder: str = "", tags: Mapping[str, Any] | None = None) -> GenerateRequest:
    """The request that the parameters describe.

    Args:
        conditions: values by name; text as it is, audio as `take:ID` / `clip:ID` until the session loads it.
        text, seconds, bars: instead of the parameters.
        tempo_known: the tempo means something (somebody set it); otherwise the model may find its own.
        decoder: name and options of another decoder than the codec's own.
        tags: record kept with the clip.

    Raises:
        RequestError: out of range.
    """
    chosen = params.text("text") if text is None else text
    if bars is None and seconds is None and params.number("bars") > 0:
        bars = params.number("bars")
    if bars is not None:
        whole = transport.beats_per_bar == int(transport.beats_per_bar)
        if not whole:  # a request counts bars in whole beats; 7/8 is told in seconds
            seconds, bars = bars * transport.beats_per_bar * 60.0 / transport.bpm, None
    elif seconds is None:
        seconds = params.number("seconds")
    # Beats in a condition are the transport's, whether somebody chose its tempo or not.
    counted = any(isinstance(value, str) and in_beats(value) for value in conditions.values())
    seed = int(params.number("seed"))
    name, options = decoder_call(decoder)
    value = morphed_text(params, chosen)
    between = {"text": value} if isinstance(value, Blend) else {}
    return GenerateRequest(
        text=None if isinstance(value, Blend) else value, seconds=None if bars is not None else seconds, bars=bars,
        loop=bars is not None,
        bpm=transport.bpm if tempo_known or bars is not None or counted else None,
        beats_per_bar=max(1, round(transport.beats_per_bar)), seed=None if seed < 0 else seed,
        sampling=sampling_from(params), conditions={**conditions, **between}, guidance=params.guidance(),
        decoder=name, decoder_options=options or {}, crossfade_ms=params.number("crossfade_ms"), only_new=True,
        options=model_options(params.text("options")), processors=params.text("processors"), tags=dict(tags or {}))
