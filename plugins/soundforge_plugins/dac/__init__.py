"""DAC: the Descript Audio Codec at 16, 24 and 44.1 kHz."""

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


def _dac(name: str, hub_name: str, sample_rate: int, hop_length: int, n_codebooks: int,
         summary: str) -> CodecDescriptor:
    return CodecDescriptor(
        name=name, factory=partial(_make, hub_name=hub_name), sample_rate=sample_rate, channels=1,
        frame_rate_hz=sample_rate / hop_length, n_codebooks=n_codebooks, codebook_size=1024, summary=summary,
        hub_name=hub_name, licence="MIT",
    )


DESCRIPTORS = (
    _dac("dac", "descript/dac_44khz", 44_100, 512, 9, "any DAC from a folder; without one, the 44.1 kHz model"),
    _dac("dac_16khz", "descript/dac_16khz", 16_000, 320, 12, "Descript Audio Codec, mono, 6 kbit/s"),
    _dac("dac_24khz", "descript/dac_24khz", 24_000, 320, 32, "Descript Audio Codec, mono, 24 kbit/s"),
    _dac("dac_44khz", "descript/dac_44khz", 44_100, 512, 9, "Descript Audio Codec, mono, 7.8 kbit/s"),
)


@hookimpl
def register_codecs(register: Callable[[CodecDescriptor], None]) -> None:
    for descriptor in DESCRIPTORS:
        register(descriptor)
