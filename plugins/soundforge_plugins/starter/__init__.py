"""The starter: SoundForge's own small model, inside the package. Codec, conditioners of its slots, model family."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from soundforge import hookimpl
from soundforge.interfaces import (
    Codec,
    CodecDescriptor,
    Conditioner,
    ConditionerDescriptor,
    ConditionerSetup,
    Host,
    LanguageModelParts,
    LoadOptions,
    ModelFamilyDescriptor,
)
from soundforge.note_sound import example_sounds

SOUNDFORGE_CONTRACT = 1


def _codec(host: Host, source: Path | None) -> Codec:
    from soundforge_plugins.starter.codec import load_starter_codec

    return load_starter_codec(source)


def _load(host: Host, folder: Path | None, options: LoadOptions) -> LanguageModelParts:
    from soundforge_plugins.starter.family import load_starter

    return load_starter(host, folder, options)


def _recognises(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and '"soundforge-starter"' in config.read_text(encoding="utf-8", errors="replace")


def _conditioner(kind: str, host: Host, setup: ConditionerSetup) -> Conditioner:
    from soundforge_plugins.starter import conditioners

    return conditioners.make(kind, setup)


CONDITIONERS = (
    ConditionerDescriptor(
        "starter_text", ("text",), partial(_conditioner, "text"), takes="text",
        summary="words and character n-grams, tolerant of typos",
        examples=("dark techno", "a gentle harp by the sea"),
    ),
    ConditionerDescriptor(
        "transport", ("transport",), partial(_conditioner, "transport"), takes="nothing: it follows the tempo",
        summary="tempo, beat and bar phase per frame, from the request or heard in the prompt",
        automatic=True, examples=(120.0, 90.0),
    ),
    ConditionerDescriptor(
        "starter_chroma", ("chroma",), partial(_conditioner, "chroma"), takes="audio",
        summary="pitch classes of a melody or of chords, frame by frame", examples=example_sounds,
    ),
    ConditionerDescriptor(
        "starter_style", ("style",), partial(_conditioner, "style"), takes="audio",
        summary="three seconds of sound to sound like: given, or the prompt's", automatic=True,
        examples=example_sounds,
    ),
    ConditionerDescriptor(
        "starter_level", ("level",), partial(_conditioner, "level"), takes="dB",
        summary="loudness to hold: the prompt's, or RMS in dB re full scale",
        automatic=True, examples=(-12.0, -30.0),
    ),
)


@hookimpl
def register_codecs(register: Callable[[CodecDescriptor], None]) -> None:
    register(
        CodecDescriptor(
            name="starter",
            factory=_codec,
            sample_rate=32_000,
            channels=1,
            frame_rate_hz=50.0,
            n_codebooks=6,
            codebook_size=1024,
            licence="MIT",
            summary="causal spectral codec without look-ahead, 3 kbit/s",
        )
    )


@hookimpl
def register_conditioners(register: Callable[[ConditionerDescriptor], None]) -> None:
    for descriptor in CONDITIONERS:
        register(descriptor)


@hookimpl
def register_model_families(register: Callable[[ModelFamilyDescriptor], None]) -> None:
    register(
        ModelFamilyDescriptor(
            name="starter",
            recognises=_recognises,
            load=_load,
            embedded=("starter",),
            summary="SoundForge's own model, trained from scratch on synthesised music",
        )
    )
