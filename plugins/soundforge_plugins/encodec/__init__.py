"""EnCodec: the codecs of MusicGen (32 kHz) and AudioGen (16 kHz), and the general ones at 24 and 48 kHz."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from soundforge import hookimpl
from soundforge.interfaces import Codec, CodecDescriptor, Host

SOUNDFORGE_CONTRACT = 1


def _make(host: Host, source: Path | None, *, hub_name: str) -> Codec:
    from soundforge.checkpoints.codecs import load_codec_folder

    return load_codec_folder(host.resolve(hub_name) if source is None else source, resolve=host.resolve)


def _encodec(name: str, hub_name: str, sample_rate: int, frame_rate_hz: float, n_codebooks: int, codebook_size: int,
             summary: str, *, channels: int = 1, licence: str) -> CodecDescriptor:
    return CodecDescriptor(
        name=name, factory=partial(_make, hub_name=hub_name), sample_rate=sample_rate, channels=channels,
        frame_rate_hz=frame_rate_hz, n_codebooks=n_codebooks, codebook_size=codebook_size, summary=summary,
        hub_name=hub_name, licence=licence,
    )


DESCRIPTORS = (
    _encodec("encodec", "facebook/encodec_32khz", 32_000, 50.0, 4, 2048,
             "any EnCodec from a folder; without one, the 32 kHz model", licence="CC-BY-NC-4.0"),
    _encodec("encodec_32khz", "facebook/encodec_32khz", 32_000, 50.0, 4, 2048,
             "EnCodec of MusicGen, mono music", licence="CC-BY-NC-4.0"),
    _encodec("encodec_16khz", "facebook/audiogen-medium", 16_000, 50.0, 4, 2048,
             "EnCodec of AudioGen, mono sounds", licence="CC-BY-NC-4.0"),
    _encodec("encodec_24khz", "facebook/encodec_24khz", 24_000, 75.0, 32, 1024,
             "EnCodec, causal, mono, 1.5 to 24 kbit/s", licence="see the model card"),
    _encodec("encodec_48khz", "facebook/encodec_48khz", 48_000, 150.0, 16, 1024,
             "EnCodec, stereo music in chunks of a second, 3 to 24 kbit/s", channels=2,
             licence="see the model card"),
)


@hookimpl
def register_codecs(register: Callable[[CodecDescriptor], None]) -> None:
    for descriptor in DESCRIPTORS:
        register(descriptor)
