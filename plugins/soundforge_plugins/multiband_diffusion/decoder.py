"""The decoder object: codes or latents through every band model, their sum, and the equaliser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from soundforge.checkpoints.mbd import MultiBandModel, load_mbd
from soundforge.errors import AudioError, CheckpointError, RequestError
from soundforge.interfaces import Codec, DecoderSetup, Host
from soundforge.nn.mbd_bands import BandSplitter, match_bands
from soundforge.nn.mbd_diffusion import step_list
from soundforge.requests import CancelToken
from soundforge_plugins.multiband_diffusion.options import OVERLAP_SECONDS, DecodeOptions
from soundforge_plugins.multiband_diffusion.run import DecodeRun, RunNoise

HUB_NAME = "facebook/multiband-diffusion"
_PUBLISHED_RATES = (24_000, 32_000)
_MUSICGEN = "mbd_musicgen_32khz.th"
_COMP_CODEBOOKS = (2, 4, 8)  # 1.5, 3 and 6 kbps of the 24 kHz codec


class MultiBandDecoder:
    """`soundforge.interfaces.Decoder` over MultiBandDiffusion.

    Thread-safe: the weights are only read; loading is guarded.

    Args:
        load: gives the model for a number of codebooks (None = latents came); called once per number.
        codec: whose codes and latents these are.
        device: where the diffusion runs.
    """

    def __init__(self, load: Callable[[int | None], MultiBandModel], codec: Codec, device: str = "cpu") -> None:
        self._load = load
        self._codec = codec
        self._device = device
        self._models: dict[int | None, MultiBandModel] = {}
        self._lock = threading.Lock()

    def model(self, n_codebooks: int | None) -> MultiBandModel:
        """The diffusion models for codes with this many codebooks; raises CheckpointError."""
        with self._lock:
            if n_codebooks not in self._models:
                self._models[n_codebooks] = checked_model(self._load(n_codebooks), self._codec).to(self._device)
            return self._models[n_codebooks]

    @torch.inference_mode()
    def decode(self, codes: Tensor, *, seed: int | Sequence[int], cancel: CancelToken,
               progress: Callable[[int, int], None] | None = None, noise: Any = None,
               options: Mapping[str, Any] | None = None) -> Tensor:
        """Codes `[B, K, T]` or latents `[B, D, T]` to `[B, C, T * hop_length]`.

        Args:
            noise: `[n_bands, steps, B, C, T * hop_length]`; entry 0 of a band is where it starts, entry 1 + i is
                added after its i-th evaluation (nothing is added after the last one).
            options: see `DecodeOptions`.

        Raises:
            RequestError: noise of another shape, an unknown or unusable option.
            AudioError: codes of another rank.
            CheckpointError: there is no model for this number of codebooks.
            CancelledError: at the next evaluation after `cancel` was set.
        """
        chosen = DecodeOptions.checked(options)
        if codes.ndim != 3:
            raise AudioError(f"mbd got codes of shape {list(codes.shape)}, expected [B, K, T] or latents [B, D, T]")
        latent_given = codes.is_floating_point()
        model = self.model(None if latent_given else codes.shape[1])
        latents = codes if latent_given else self._codec.decode_latent(codes)
        n_samples = latents.shape[-1] * self._codec.hop_length
        if n_samples == 0:
            return torch.zeros(latents.shape[0], self._codec.channels, 0)
        window = max(1, int(chosen.window_seconds * self._codec.frame_rate_hz))
        reference = self._decoded(codes, window)
        run = DecodeRun(model, self._steps(model, chosen), latents.float().to(self._device), self._codec.hop_length,
                   RunNoise(seed, noise, model, latents.shape[0], n_samples, self._device), cancel, progress)
        overlap = max(1, int(OVERLAP_SECONDS * self._codec.frame_rate_hz))
        wave = run.decode(window, overlap)
        if chosen.equalise == "off":
            return wave
        cancel.raise_if_cancelled()
        splitter = BandSplitter(self._codec.sample_rate, chosen.bands)
        return match_bands(wave, reference.to(wave), splitter, strictness=chosen.strictness,
                           each=chosen.equalise == "each")

    def _decoded(self, codes: Tensor, window: int) -> Tensor:
        """The codec's own sound, of long clips piece by piece: a codec's layers take far more room than its sound."""
        if not codes.is_floating_point():
            if codes.shape[-1] <= window:
                return self._codec.decode(codes)
            stream = self._codec.stream(codes.shape[0])
            pieces = [stream.decode(codes[..., i : i + window]) for i in range(0, codes.shape[-1], window)]
            return torch.cat([*pieces, stream.finish_decode()], dim=-1)
        decode = getattr(self._codec, "decode_from_latent", None)
        if decode is None:
            raise AudioError(f"mbd got latents, but the codec ({type(self._codec).__name__}) decodes codes only; "
                             "pass codes")
        return decode(codes)  # type: ignore[no-any-return]

    @staticmethod
    def _steps(model: MultiBandModel, options: DecodeOptions) -> list[list[int]]:
        out = []
        for band in model.bands:
            n = band.schedule.num_steps
            if options.step_list is not None and options.step_list[0] >= n:
                raise RequestError(f"decoder option 'step_list' starts at {options.step_list[0]}, expected less than "
                                   f"{n}")
            if options.step_list is None and options.steps >= n:
                raise RequestError(f"decoder option 'steps' came as {options.steps}, expected 1 to {n - 1}")
            out.append(list(options.step_list) if options.step_list else step_list(n, options.steps))
        return out


def checked_model(model: MultiBandModel, codec: Codec) -> MultiBandModel:
    """The model itself when it fits the codec; raises CheckpointError naming both sides."""
    if model.sample_rate != codec.sample_rate or model.channels != codec.channels:
        raise CheckpointError(f"{model.source} was trained for {_format(model)}, but the codec has {_format(codec)}; "
                              "the published models are mono, for MusicGen's 32 kHz and the 24 kHz EnCodec")
    width = codec.decode_latent(torch.zeros(1, codec.n_codebooks, 1, dtype=torch.int64)).shape[1]
    if width != model.codec_dim:
        raise CheckpointError(f"{model.source} takes latents of width {model.codec_dim}, but the codec's have {width}")
    return model


def make_decoder(host: Host, setup: DecoderSetup) -> MultiBandDecoder:
    """The decoder for a codec; its weights are read when the first codes come, for their number of codebooks.

    Weights are taken, in this order, from the checkpoint's folder, from `multiband-diffusion/` inside it, and from
    the hub. Published ones exist for mono at 32 and 24 kHz; a file beside the checkpoint may be for any codec.

    Raises:
        CheckpointError: there is no model for the codec.
    """
    codec = setup.codec
    if not (codec.channels == 1 and codec.sample_rate in _PUBLISHED_RATES) and not _files_beside(setup):
        raise CheckpointError(f"mbd came with a codec of {_format(codec)}, expected MusicGen's mono 32 kHz EnCodec or "
                              "the 24 kHz one; use the codec's own decoder")
    return MultiBandDecoder(lambda n: load_mbd(find_weights(host, setup, n)), codec, setup.device)


def find_weights(host: Host, setup: DecoderSetup, n_codebooks: int | None) -> Path:
    """The file for codes with this many codebooks (None = latents); raises CheckpointError, NotCachedError."""
    beside = _files_beside(setup)
    count = setup.codec.n_codebooks if n_codebooks is None else n_codebooks
    name = _MUSICGEN if setup.codec.sample_rate == 32_000 else f"mbd_comp_{count}.pt"
    for path in beside:
        if path.name == name:
            return path
    if len(beside) == 1 and setup.codec.sample_rate not in _PUBLISHED_RATES:
        return beside[0]
    if name != _MUSICGEN and count not in _COMP_CODEBOOKS:
        raise CheckpointError(f"mbd came with {count} codebooks at {setup.codec.sample_rate} Hz, expected 2, 4 or 8 at "
                              "24000 Hz (1.5, 3 or 6 kbps); encode with one of these")
    return host.resolve(HUB_NAME) / name


def _files_beside(setup: DecoderSetup) -> list[Path]:
    """MultiBandDiffusion files in the checkpoint's folder, and in `multiband-diffusion/` inside it."""
    if setup.folder is None:
        return []
    places = (setup.folder, setup.folder / HUB_NAME.rpartition("/")[2])
    return [path for place in places for path in sorted(place.glob("mbd_*")) if path.suffix in (".th", ".pt")]


def _format(of: Codec | MultiBandModel) -> str:
    return f"{of.channels} channel{'s' * (of.channels != 1)} at {of.sample_rate} Hz"
