"""The built-in plugins pass the checks that third parties' do."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundforge.audio import Waveform
from soundforge.host import PluginHost, create_host
from soundforge.interfaces import ConditionerSetup, DecoderSetup, LanguageModelParts, LoadOptions, Slot
from soundforge.nn.starter_conditions import CHROMA_WIDTH, TRANSPORT_WIDTH
from soundforge.testing import (
    check_bridge,
    check_clip_processor,
    check_codec,
    check_conditioner,
    check_decoder,
    check_model_family,
    check_plugin,
)
from soundforge.testing.asserting import ODD_VALUES
from soundforge.testing.families import check_recognises
from soundforge.testing.tiny_model import tiny_codec

BUILT_IN = sorted(entry.value for entry in metadata.entry_points(group="soundforge")
                  if entry.dist is not None and entry.dist.name == "soundforge")


@pytest.fixture(scope="module")
def host() -> PluginHost:
    return create_host()


def tone(hz: float, seconds: float = 3.2) -> Waveform:
    time = np.arange(round(seconds * 32_000)) / 32_000
    return Waveform((0.3 * np.sin(2 * np.pi * hz * time)).astype(np.float32), 32_000)


@pytest.mark.parametrize("module", sorted(set(BUILT_IN)))
def test_every_built_in_module(module: str) -> None:
    check_plugin(module)


def test_a_family_recognises_only_its_own_folders(host: PluginHost) -> None:
    for family in host.registries.model_families.values():
        check_recognises(family)


CASES: dict[str, tuple[Slot, Any, Any]] = {
    "starter_text": (Slot("text", "starter_text", 64 + TRANSPORT_WIDTH + CHROMA_WIDTH, "sum", 50.0),
                     "dark techno", "a gentle harp by the sea"),
    "transport": (Slot("transport", "transport", 18, "sum", 50.0), 120.0, 90.0),
    "starter_chroma": (Slot("chroma", "starter_chroma", 12, "sum", 50.0), tone(440.0), tone(330.0)),
    "starter_style": (Slot("style", "starter_style", 16, "sum", 50.0), tone(440.0), tone(1000.0)),
    "chroma": (Slot("chroma", "chroma", 12, "prepend", options={"segment_seconds": 2.0, "argmax": True}),
               tone(440.0), tone(330.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_conditioners_without_weights_of_their_own(host: PluginHost, name: str) -> None:
    slot, value, other = CASES[name]
    torch.manual_seed(0)  # the text encoder of the starter is drawn when no weights come with it
    odd = ODD_VALUES
    if name == "transport":
        slot = Slot("transport", "transport", TRANSPORT_WIDTH, "sum", 50.0)
        odd = ("", "fast", "\x00", -1, float("nan"), "off")  # what is neither text nor number: not yet
    made = host.conditioner(name, ConditionerSetup(slot, codec=tiny_codec()))
    check_conditioner(made, value, slot=slot, other=other, odd=odd,
                      descriptor=host.registries.conditioners[name])


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_the_text_conditioner_and_the_musicgen_family(golden: Path, host: PluginHost) -> None:
    family = host.registries.model_families["musicgen"]
    parts = family.load(host, golden, LoadOptions())
    assert isinstance(parts, LanguageModelParts)
    item = parts.slots[0]
    setup = ConditionerSetup(item.slot, item.tensors, parts.folder, parts.layout, parts.config, parts.codec)
    check_conditioner(host.conditioner("text", setup), "dark techno", slot=item.slot, other="a gentle harp")
    check_model_family(family, host, golden)


@pytest.mark.parametrize("golden", ["encodec_16k", "hf_dac_16k", "hf_encodec_48k_stereo"], indirect=True)
def test_codecs_from_files(golden: Path) -> None:
    from soundforge.checkpoints.codecs import load_codec_folder

    check_codec(load_codec_folder(golden), seconds=0.4)


def test_the_starter_codec(host: PluginHost) -> None:
    check_codec(host.codec("starter"), descriptor=host.registries.codecs["starter"], tolerance=1e-3)


@pytest.mark.parametrize("golden", ["multiband_diffusion"], indirect=True)
def test_the_diffusion_decoder(golden: Path, host: PluginHost) -> None:
    from soundforge.checkpoints.codecs import load_codec_folder

    codec = load_codec_folder(golden)
    decoder = host.registries.decoders["mbd"].factory(host, DecoderSetup(codec, folder=golden))
    check_decoder(decoder, codec, options={"equalise": "each"})


@pytest.mark.parametrize("golden", ["magnet"], indirect=True)
def test_the_magnet_family(golden: Path, host: PluginHost) -> None:
    check_model_family(host.registries.model_families["magnet"], host, golden, seconds=1.0,
                       keywords={"text": "drums", "options": {"decoding_steps": [2, 1, 1, 1]}})


@pytest.mark.parametrize("name", ["osc", "midi"])
def test_bridges(host: PluginHost, name: str) -> None:
    check_bridge(host.registries.bridges[name], max_blocking_seconds=5.0)


def test_clip_processors(host: PluginHost) -> None:
    for descriptor in host.registries.clip_processors.values():
        check_clip_processor(descriptor.factory(host, {}))
