"""Reading MultiBandDiffusion's files (`mbd_musicgen_32khz.th`, `mbd_comp_{2,4,8}.pt`).

A file holds one entry per band model: weights, the state of its sample processor, and its configuration, which is
a pickled omegaconf object. It is read as inert data (see `files.read_torch_file`); nothing in it is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from soundforge.checkpoints.files import assign_state, build_empty, read_torch_file
from soundforge.errors import CheckpointError
from soundforge.nn.mbd_bands import BandRescale, BandSplitter
from soundforge.nn.mbd_diffusion import NoiseSchedule
from soundforge.nn.mbd_unet import DiffusionUnet, UnetConfig

_MAX_BANDS = 64


@dataclass(frozen=True)
class BandModel:
    """One of the diffusion models whose outputs add up to the waveform.

    Args:
        unet: estimates the noise.
        schedule: how the noise was added in training.
        rescale: brings its output to the waveform's scale, None = it is there.
    """

    unet: DiffusionUnet
    schedule: NoiseSchedule
    rescale: BandRescale | None


@dataclass(frozen=True)
class MultiBandModel:
    """A MultiBandDiffusion file.

    Args:
        bands: the band models.
        sample_rate: Hz.
        channels: audio channels.
        codec_dim: width of the latents it was trained on.
        n_codebooks: number of codebooks it was trained on, None when the file does not say.
        source: the file.
    """

    bands: tuple[BandModel, ...]
    sample_rate: int
    channels: int
    codec_dim: int
    n_codebooks: int | None
    source: Path

    def to(self, device: torch.device | str) -> MultiBandModel:
        """Move the weights; returns itself."""
        for band in self.bands:
            band.unet.to(device)
        return self


def load_mbd(path: str | Path) -> MultiBandModel:
    """A MultiBandDiffusion file as modules on the CPU, float32.

    Raises:
        CheckpointError: missing, corrupted, holding anything but data, or not of this layout.
    """
    path = Path(path)
    package = read_torch_file(path, with_omegaconf=True)
    if not isinstance(package, dict) or not {"sample_rate", "n_bands"} <= set(package):
        raise CheckpointError(f"{path} is no MultiBandDiffusion file: expected 'sample_rate', 'n_bands' and one entry "
                              "per band")
    n_bands, sample_rate = package["n_bands"], package["sample_rate"]
    if not isinstance(n_bands, int) or not 1 <= n_bands <= _MAX_BANDS or not isinstance(sample_rate, int):
        raise CheckpointError(f"{path} has n_bands {n_bands!r} and sample_rate {sample_rate!r}, expected 1 to "
                              f"{_MAX_BANDS} bands and a whole number of Hz")
    bands, configs = [], []
    for index in range(n_bands):
        entry = package.get(index)
        if not isinstance(entry, dict) or not isinstance(entry.get("cfg"), dict):
            raise CheckpointError(f"{path} lacks the configuration of band model {index}")
        configs.append(entry["cfg"])
        try:
            bands.append(_band(entry, sample_rate, f"{path}, band model {index}"))
        except (ValueError, TypeError, KeyError, ZeroDivisionError, OverflowError) as error:
            raise CheckpointError(f"{path}, band model {index}: not a usable configuration ({error})") from error
    shapes = {(band.unet.config.channels, band.unet.config.codec_dim) for band in bands}
    channels, codec_dim = shapes.pop()
    if shapes or codec_dim is None:
        raise CheckpointError(f"{path}: the band models differ in channels or latents, or take no latents")
    n_q = configs[0].get("n_q")
    return MultiBandModel(tuple(bands), sample_rate, channels, codec_dim, n_q if isinstance(n_q, int) else None, path)


def _band(entry: Mapping[str, Any], sample_rate: int, source: str) -> BandModel:
    config = entry["cfg"]
    schedule = NoiseSchedule.from_published(config["schedule"])
    unet_config = UnetConfig.from_published(config["diffusion_unet"], int(config["channels"]), schedule.num_steps)
    unet = build_empty(lambda: DiffusionUnet(unet_config))
    state = entry.get("model_state")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{source}: its weights are missing")
    assign_state(unet, state, source=source, dtype=torch.float32)
    return BandModel(unet, schedule, _rescale(config.get("processor"), entry.get("processor_state"), sample_rate))


def _rescale(config: Any, state: Any, sample_rate: int) -> BandRescale | None:
    """From the running sums over the training set: the bands' mean and deviation against those of white noise."""
    if not isinstance(config, dict) or not config.get("use") or config.get("name") != "multi_band_processor":
        return None
    n_bands = int(config.get("n_bands", 8))
    if not isinstance(state, dict):
        raise ValueError("the state of its sample processor is missing")
    sums = {}
    for name, size in (("counts", 1), ("sum_x", n_bands), ("sum_x2", n_bands), ("sum_target_x2", n_bands)):
        value = state.get(name)
        if not isinstance(value, Tensor) or value.shape != (size,):
            raise ValueError(f"the sample processor's {name!r} is missing or misshapen, expected [{size}]")
        sums[name] = value.float()
    filters = state.get("split_bands.lowpass.filters")
    splitter = BandSplitter(sample_rate, n_bands, filters[:, 0].float() if isinstance(filters, Tensor) else None)
    mean = sums["sum_x"] / sums["counts"]
    deviation = (sums["sum_x2"] / sums["counts"] - mean**2).clamp(min=0).sqrt()
    target = sums["sum_target_x2"] / sums["counts"]
    power = torch.as_tensor(config.get("power_std", 1.0), dtype=torch.float32)
    if power.ndim and power.shape != (n_bands,):
        raise ValueError(f"power_std has {power.numel()} values, expected one or {n_bands}")
    return BandRescale(splitter, (deviation / target) ** power, mean)
