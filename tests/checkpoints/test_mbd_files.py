"""MultiBandDiffusion's files: the golden one fits, a damaged or hostile one is an error and runs nothing."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from soundforge.checkpoints.mbd import load_mbd
from soundforge.errors import CheckpointError


@pytest.mark.parametrize("golden", ["multiband_diffusion"], indirect=True)
def test_the_published_layout_is_read(golden: Path) -> None:
    model = load_mbd(golden / "mbd_musicgen_32khz.th")
    assert (model.sample_rate, model.channels, model.codec_dim, model.n_codebooks) == (32_000, 1, 16, 4)
    assert [band.schedule.noise_scale for band in model.bands] == [1.0, 0.9]
    assert model.bands[0].rescale is not None and model.bands[1].rescale is None


class _Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> object:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_hostile_file_is_an_error_and_runs_nothing(tmp_path: Path, form: str) -> None:
    marker, file = tmp_path / "ran", tmp_path / "mbd.th"
    package = {"sample_rate": 32_000, "n_bands": 1, 0: {"cfg": _Hostile(marker)}}
    if form == "torch":
        torch.save(package, file)
    else:
        file.write_bytes(pickle.dumps(package))
    with pytest.raises(CheckpointError, match="nothing in it was executed"):
        load_mbd(file)
    assert not marker.exists()


def _package(**band: object) -> dict[object, object]:
    config = {"channels": 1, "schedule": {"num_steps": 10}, "diffusion_unet": {"hidden": 8, "depth": 1, "codec_dim": 4}}
    return {"sample_rate": 24_000, "n_bands": 1, 0: {"cfg": config, "model_state": {}, **band}}


@pytest.mark.parametrize(("package", "words"), [
    ({"best_state": {}}, "no MultiBandDiffusion file"),
    ({"sample_rate": 24_000, "n_bands": 10**9}, "expected 1 to 64 bands"),
    ({"sample_rate": 24_000, "n_bands": 1}, "lacks the configuration of band model 0"),
    (_package(), "missing: encoders.0.conv.weight"),
    (_package(cfg={"channels": 1, "schedule": {"num_steps": 0}, "diffusion_unet": {}}), "noise schedule"),
    (_package(cfg={"channels": 1, "schedule": {}, "diffusion_unet": {"wings": 2}}), "unknown keys wings"),
    (_package(cfg={"channels": 1}), "not a usable configuration"),
])
def test_what_is_wrong_is_named(tmp_path: Path, package: dict[object, object], words: str) -> None:
    torch.save(package, tmp_path / "mbd.th")
    with pytest.raises(CheckpointError, match=words):
        load_mbd(tmp_path / "mbd.th")


def test_a_repository_of_these_files_is_fetched_whole() -> None:
    from soundforge.checkpoints import hub

    names = ["README.md", "mbd_comp_4.pt", "mbd_musicgen_32khz.th", "config.json"]
    assert hub.files_to_fetch(names) == ["mbd_musicgen_32khz.th", "mbd_comp_4.pt"]
    jasco = ["state_dict.bin", "compression_state_dict.bin", "chord_to_index_mapping.pkl"]
    assert hub.files_to_fetch(jasco) == jasco
