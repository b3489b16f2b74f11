"""MultiBandDiffusion: a diffusion decoder for EnCodec's codes, slower and cleaner than EnCodec's own."""

from __future__ import annotations

from collections.abc import Callable

from soundforge import hookimpl
from soundforge.interfaces import Decoder, DecoderDescriptor, DecoderSetup, Host

SOUNDFORGE_CONTRACT = 1


def _make(host: Host, setup: DecoderSetup) -> Decoder:
    from soundforge_plugins.multiband_diffusion.decoder import make_decoder

    return make_decoder(host, setup)


@hookimpl
def register_decoders(register: Callable[[DecoderDescriptor], None]) -> None:
    register(DecoderDescriptor(
        name="mbd", codecs=("encodec_32khz", "encodec_24khz"), factory=_make,
        summary="MultiBandDiffusion (MusicGen's 32 kHz EnCodec, and 24 kHz at 1.5, 3 and 6 kbps); mono",
    ))
