"""The built-in plugins pass the checks that third parties' do."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from soundforge.host import PluginHost, create_host
from soundforge.interfaces import ConditionerSetup, DecoderSetup, LanguageModelParts, LoadOptions
from soundforge.testing import check_codec, check_conditioner, check_decoder, check_model_family
from soundforge.testing.parts import LeftToItsTestsError, PartCheck, checks_of

BUILT_IN = sorted({entry.value for entry in metadata.entry_points(group="soundforge")
                   if entry.dist is not None and entry.dist.name == "soundforge"})
CHECKS = [(module, check) for module in BUILT_IN for check in checks_of(module)]


@pytest.fixture(scope="module")
def host() -> PluginHost:
    return create_host()


LEFT = {"conditioner text", "conditioner style", "conditioner drums", "conditioner melody", "decoder mbd",
        "model family jasco", "model family magnet", "model family musicgen",
        *(f"codec {name}" for name in ("dac", "dac_16khz", "dac_24khz", "dac_44khz", "encodec", "encodec_16khz",
                                       "encodec_24khz", "encodec_32khz", "encodec_48khz"))}
"""Parts that need weights or a checkpoint: they are checked below, with the reference models, or in tests/plugins."""


@pytest.mark.parametrize("check", CHECKS, ids=[f"{module}: {check.name}" for module, check in CHECKS])
def test_what_plugin_check_checks(check: tuple[str, PartCheck]) -> None:
    left = False
    try:
        check[1].run()
    except LeftToItsTestsError:
        left = True
    assert left == (check[1].name in LEFT)


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
