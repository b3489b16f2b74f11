"""The MusicGen family through the plugin host: what it recognises, what it loads, and end to end from a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lm_cases import FolderHost, lm_case
from plugin_hosts import host_with

import soundforge as sf
from soundforge.checkpoints.native_save import save_native
from soundforge.errors import CheckpointError, NotCachedError
from soundforge.host import PluginHost
from soundforge.interfaces import LanguageModelParts, LoadOptions
from soundforge_plugins.musicgen.loading import load_musicgen
from soundforge_plugins.musicgen.recognise import layout_of

KNOWN = {
    "musicgen_text": "audiocraft", "musicgen_melody": "audiocraft", "musicgen_stereo": "audiocraft",
    "musicgen_style": "audiocraft", "audiogen": "audiocraft", "hf_musicgen": "transformers",
    "hf_musicgen_stereo": "transformers", "hf_musicgen_melody": "transformers",
}
OTHERS = ["magnet", "jasco_chords_drums", "jasco_chords_drums_melody", "encodec_32k", "hf_dac_44k",
          "hf_encodec_24k_causal", "multiband_diffusion"]


@pytest.mark.parametrize(("golden", "layout"), [*KNOWN.items(), *((name, None) for name in OTHERS)],
                         indirect=["golden"])
def test_its_own_checkpoints_are_recognised_and_no_others(golden: Path, layout: str | None) -> None:
    assert layout_of(golden) == layout


def test_odd_folders_are_not_recognised(tmp_path: Path) -> None:
    assert layout_of(tmp_path) is None
    assert layout_of(tmp_path / "absent") is None
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert layout_of(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": ["musicgen"]}))
    assert layout_of(tmp_path) is None
    (tmp_path / "state_dict.bin").write_bytes(b"x")
    assert layout_of(tmp_path) is None


def test_damaged_files_count_as_ours_so_that_loading_can_say_why(tmp_path: Path) -> None:
    for name in ("state_dict.bin", "compression_state_dict.bin"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 broken")
    assert layout_of(tmp_path) == "audiocraft"
    with pytest.raises(CheckpointError, match=r"state_dict\.bin"):
        load_musicgen(FolderHost(), tmp_path, LoadOptions())


def test_registering_and_recognising_import_no_torch() -> None:
    code = ("import sys, pathlib\nfrom soundforge.host import create_host\nhost = create_host()\n"
            "[f.recognises(pathlib.Path('.')) for f in host.registries.model_families.values()]\n"
            "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
            "print(*sorted(host.registries.conditioners))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "SOUNDFORGE_PLUGINS": "text,chroma,style,musicgen"}, check=True)
    assert done.stdout.split() == ["chroma", "midi_melody", "style", "text"]


def test_there_is_no_embedded_checkpoint() -> None:
    with pytest.raises(CheckpointError, match="no embedded checkpoint"):
        load_musicgen(FolderHost(), None, LoadOptions())


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_a_missing_text_encoder_is_noticed_when_loading(golden: Path, tmp_path: Path) -> None:
    for name in ("state_dict.bin", "compression_state_dict.bin"):
        shutil.copyfile(golden / name, tmp_path / name)
    with pytest.raises(NotCachedError, match="t5-base"):
        load_musicgen(FolderHost(), tmp_path, LoadOptions())


# --- through the host, as users load it ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def host() -> PluginHost:
    return host_with("text", "chroma", "style", "encodec", "musicgen")


@pytest.mark.parametrize("golden", list(KNOWN), indirect=True)
def test_every_checkpoint_loads_and_generates(golden: Path, host: PluginHost) -> None:
    with sf.load(golden, device="cpu", host=host) as engine:
        clip = engine.generate("calm piano", seconds=0.3, seed=1)
        assert clip.waveform.shape == (engine.channels, int(0.3 * engine.sample_rate))
        assert clip.codes is not None and clip.codes.shape[1] == 15
        assert bool(np.isfinite(clip.waveform).all())


@pytest.mark.parametrize(("golden", "condition", "wave"), [
    ("musicgen_melody", "chroma", "in.melody_wav"), ("hf_musicgen_melody", "chroma", "in.melody_wav"),
    ("musicgen_style", "style", "in.style_wav"),
], indirect=["golden"])
def test_melody_and_style_change_the_output(golden: Path, condition: str, wave: str, host: PluginHost) -> None:
    """The defect of released transformers: byte-identical output with and without the melody."""
    audio = lm_case(golden).wave(wave)
    with sf.load(golden, device="cpu", host=host) as engine:
        keywords = {"seconds": 0.4, "temperature": 0.0, "seed": 3}
        without = engine.generate("calm piano", **keywords)
        given = engine.generate("calm piano", conditions={condition: audio}, **keywords)
        again = engine.generate("calm piano", conditions={condition: audio}, **keywords)
        prompt = engine.extend(np.zeros((len(without.codes), 10), dtype=np.int64), "calm piano",
                               conditions={condition: audio}, **keywords)
    assert not np.array_equal(without.codes, given.codes)
    assert np.array_equal(given.codes, again.codes)
    assert prompt.codes is not None and prompt.codes.shape[1] == 30


@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_a_condition_without_a_slot_is_refused(golden: Path, host: PluginHost) -> None:
    with (sf.load(golden, device="cpu", host=host) as engine,
          pytest.raises(sf.ConditionError, match="no slot for it; its slots: text")):
        engine.generate("x", seconds=0.1, conditions={"chroma": sf.Waveform(np.zeros(9, dtype=np.float32), 32000)})


# --- real hyper-parameters ------------------------------------------------------------------------------------

_MEASURE = """
import resource, sys
from pathlib import Path
import soundforge.nn.t5, torch, transformers
from lm_cases import FolderHost
from soundforge.interfaces import LoadOptions
from soundforge_plugins.musicgen.loading import load_musicgen
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
parts = load_musicgen(FolderHost(), Path(sys.argv[1]), LoadOptions())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def _full_size(golden: Path, folder: Path, *, width: int, heads: int, layers: int, t5_width: int) -> LanguageModelParts:
    """A checkpoint of a published size with random weights, in half precision as released; a thin T5 beside it."""
    import yaml
    from safetensors.torch import save_file
    from transformers import T5Config, T5EncoderModel

    folder.mkdir()
    shutil.copytree(golden / "text_encoder", folder / "text_encoder", copy_function=shutil.copyfile)
    config = {**json.loads((golden / "text_encoder" / "config.json").read_text()), "d_model": t5_width}
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config))
    t5 = T5EncoderModel(T5Config(**config)).state_dict()
    (folder / "text_encoder" / "model.safetensors").unlink()
    save_file({name: tensor for name, tensor in t5.items() if name != "encoder.embed_tokens.weight"},
              folder / "text_encoder" / "model.safetensors")
    codec = torch.load(golden / "compression_state_dict.bin", weights_only=True)
    xp = yaml.safe_load(codec["xp.cfg"])
    xp["rvq"]["bins"] = 2048
    for name, tensor in codec["best_state"].items():
        if name.endswith(("_codebook.embed", "_codebook.embed_avg")):
            codec["best_state"][name] = torch.randn(2048, tensor.shape[1])
        elif name.endswith("cluster_size"):
            codec["best_state"][name] = torch.ones(2048)
    torch.save({**codec, "xp.cfg": yaml.safe_dump(xp)}, folder / "compression_state_dict.bin")
    package = torch.load(golden / "state_dict.bin", weights_only=True)
    xp = yaml.safe_load(package["xp.cfg"])
    xp["transformer_lm"].update(dim=width, num_heads=heads, num_layers=layers, card=2048)
    state = {}
    for name, tensor in package["best_state"].items():
        shape = list(tensor.shape)
        if name.endswith("output_proj.weight") and name.startswith("condition_provider"):
            shape = [width, t5_width if ".description." in name else shape[1]]
        elif name.endswith("spec.window"):
            state[name] = tensor
            continue
        else:
            shape = [width * (n // 64) if n % 64 == 0 else n for n in shape]
            shape[0] = 2048 if name.startswith("linears.") else 2049 if name.startswith("emb.") else shape[0]
        if ".layers.0." in name or ".layers." not in name:
            for index in range(layers) if ".layers.0." in name else [0]:
                state[name.replace(".layers.0.", f".layers.{index}.")] = (torch.randn(shape) * 0.02).half()
    torch.save({**package, "best_state": state, "xp.cfg": yaml.safe_dump(xp)}, folder / "state_dict.bin")
    return load_musicgen(FolderHost(), folder, LoadOptions())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read through the resource module")
@pytest.mark.parametrize("golden", ["musicgen_text"], indirect=True)
def test_musicgen_small_at_its_real_size(golden: Path, tmp_path: Path, host: PluginHost) -> None:
    """Shapes of the published small model; loading peaks well below twice the size of its weights."""
    folder = tmp_path / "small"
    parts = _full_size(golden, folder, width=1024, heads=16, layers=24, t5_width=768)
    n_parameters = sum(p.numel() for p in parts.lm.parameters())
    assert 418e6 < n_parameters < 422e6
    del parts
    done = subprocess.run([sys.executable, "-c", _MEASURE, str(folder)], capture_output=True, text=True, timeout=280,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}, check=True)
    peak_bytes = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    assert peak_bytes < 1.7 * 4 * n_parameters, peak_bytes / n_parameters
    with sf.load(folder, device="cpu", host=host) as engine:
        clip = engine.generate("calm piano", seconds=0.1, seed=1)
        assert clip.codes is not None and clip.codes.shape == (4, 5) and clip.codes.max() < 2048


@pytest.mark.slow
@pytest.mark.parametrize(("golden", "width", "heads", "t5_width", "slots"), [
    ("musicgen_melody", 1536, 24, 768, ["chroma", "text"]), ("audiogen", 1536, 24, 1024, ["text"]),
    ("musicgen_text", 2048, 32, 768, ["text"]),
], indirect=["golden"])
def test_the_published_widths(golden: Path, tmp_path: Path, host: PluginHost, width: int, heads: int, t5_width: int,
                              slots: list[str]) -> None:
    """Melody and AudioGen medium, and large, with three of their 48 layers."""
    folder = tmp_path / "wide"
    parts = _full_size(golden, folder, width=width, heads=heads, layers=3, t5_width=t5_width)
    assert [item.slot.name for item in parts.slots] == slots
    per_layer = (12 if "chroma" in slots else 16) * width * width
    counted = sum(p.numel() for p in parts.lm.parameters())
    assert abs(counted - 3 * per_layer - 4 * (2048 + 2049) * width) < 20 * 3 * width
    with sf.load(folder, device="cpu", host=host) as engine:
        tone = sf.Waveform(np.sin(np.arange(32000) / 11).astype(np.float32), 32000)
        conditions = {"chroma": tone} if "chroma" in slots else {}
        clip = engine.generate("calm piano", seconds=0.1, seed=1, conditions=conditions)
        assert clip.codes is not None and clip.codes.shape == (4, 5) and clip.codes.max() < 2048


@pytest.mark.parametrize("golden", ["musicgen_style"], indirect=True)
def test_style_from_mert_loads_from_a_folder_beside(golden: Path, tmp_path: Path, host: PluginHost) -> None:
    """The published style checkpoint listens with MERT: without it an error when loading, with it a clip."""
    import yaml
    from test_style_conditioner import MERT_CONFIG, mert_tensors

    folder = tmp_path / "style"
    shutil.copytree(golden, folder, copy_function=shutil.copyfile)
    package = torch.load(golden / "state_dict.bin", weights_only=True)
    xp = yaml.safe_load(package["xp.cfg"])
    xp["conditioners"]["self_wav"]["style"].update(model_name="mert", ds_factor=15)
    state = {name: t for name, t in package["best_state"].items() if ".self_wav.embed." not in name}
    base = "condition_provider.conditioners.self_wav.embed"
    state |= {f"{base}.weight": torch.randn(256, 768).half(), f"{base}.bias": torch.zeros(256).half()}
    torch.save({**package, "best_state": state, "xp.cfg": yaml.safe_dump(xp)}, folder / "state_dict.bin")
    with pytest.raises(NotCachedError, match="MERT"):
        load_musicgen(FolderHost(), folder, LoadOptions())
    (folder / "MERT-v1-95M").mkdir()
    config = {**MERT_CONFIG, "hidden_size": 768}
    (folder / "MERT-v1-95M" / "config.json").write_text(json.dumps(config))
    torch.save(mert_tensors(config), folder / "MERT-v1-95M" / "pytorch_model.bin")
    audio = lm_case(golden).wave("in.style_wav")
    with sf.load(folder, device="cpu", host=host) as engine:
        clips = [engine.generate("calm piano", seconds=0.2, seed=1, temperature=0.0, conditions=conditions)
                 for conditions in ({}, {"style": audio})]
        assert clips[0].codes is not None and clips[0].codes.shape == (4, 10)
        assert not np.array_equal(clips[0].codes, clips[1].codes)
    save_native(load_musicgen(FolderHost(), folder, LoadOptions()), tmp_path / "native")
    with sf.load(tmp_path / "native", device="cpu", host=host) as engine:
        again = engine.generate("calm piano", seconds=0.2, seed=1, temperature=0.0, conditions={"style": audio})
        assert np.array_equal(again.codes, clips[1].codes)
