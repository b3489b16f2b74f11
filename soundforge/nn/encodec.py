"""EnCodec (Défossez et al. 2022): SEANet with a residual quantiser, in all published variants.

    encodec_24khz, 32khz, 16khz   one pass over the signal; every layer sees a finite part of it, so it streams
    encodec_48khz                 stereo; group normalisation, and the input divided by its loudness (renormalise)

Where the configuration has a chunk length (transformers' 48 kHz), the signal is cut into overlapping chunks that
are coded each by itself and overlap-added, see `encodec_chunks.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from soundforge.interfaces import CodecStream, EncodedAudio
from soundforge.nn.encodec_chunk_stream import ChunkStream
from soundforge.nn.encodec_chunks import ChunkLayout, decode_chunks, encode_chunks
from soundforge.nn.rvq import ResidualQuantiser
from soundforge.nn.seanet import SeanetConfig, seanet_decoder, seanet_encoder
from soundforge.nn.streaming_bounds import CODEBOOKS, ENTRIES, SAMPLE_RATE, check_flags, check_integers
from soundforge.nn.streaming_codec import CodecNetwork, NeuralCodec

# Chunks of a stream for a model that needs the whole signal and names no chunks of its own: those of the
# published 48 kHz model (section 3.1 there: 1 second, 1 % overlap).
_STREAM_CHUNK_SECONDS = 1.0
_STREAM_OVERLAP = 0.01


@dataclass(frozen=True)
class EncodecConfig:
    """Shape of an EnCodec.

    Args:
        sample_rate: Hz.
        encoder, decoder: the two halves; they agree in channels, dimension and hop length.
        n_codebooks, codebook_size: K and N.
        frame_rate_hz: frames per second; AudioCraft rounds it down to a whole number, transformers does not.
        renormalise: the encoder sees the signal divided by its scale, the RMS of its mono mix.
        chunk_samples, chunk_stride_samples: the signal is coded in chunks of this length and distance; None =
            in one piece.
    """

    sample_rate: int
    encoder: SeanetConfig
    decoder: SeanetConfig
    n_codebooks: int
    codebook_size: int
    frame_rate_hz: float
    renormalise: bool = False
    chunk_samples: int | None = None
    chunk_stride_samples: int | None = None

    def __post_init__(self) -> None:
        check_integers(self, {"sample_rate": SAMPLE_RATE, "n_codebooks": CODEBOOKS, "codebook_size": ENTRIES})
        check_flags(self, ("renormalise",))
        for what in ("chunk_samples", "chunk_stride_samples"):
            if getattr(self, what) is not None:
                check_integers(self, {what: (1, 1 << 40)})
        for what in ("channels", "dimension", "hop_length"):
            ours, theirs = getattr(self.encoder, what), getattr(self.decoder, what)
            if ours != theirs:
                raise ValueError(f"the encoder's {what} is {ours}, the decoder's {theirs}")

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self.decoder.hop_length

    @property
    def streams(self) -> bool:
        """Whether a stream can equal the one-shot result for any cutting."""
        return self.encoder.streams and self.decoder.streams and not self.renormalise and not self.chunk_samples

    def chunk_layout(self) -> ChunkLayout | None:
        """How the signal is cut, or None."""
        if self.chunk_samples is None:
            return None
        return ChunkLayout(self.chunk_samples, self.chunk_stride_samples or self.chunk_samples, self.hop_length)

    def stream_layout(self) -> ChunkLayout:
        """How a stream is cut that cannot be exact beyond a chunk."""
        chunk = int(_STREAM_CHUNK_SECONDS * self.sample_rate)
        chunk -= chunk % self.hop_length
        return self.chunk_layout() or ChunkLayout(chunk, int((1 - _STREAM_OVERLAP) * chunk), self.hop_length)


def encodec_network(config: EncodecConfig) -> CodecNetwork:
    """The modules, with weights yet to be loaded."""
    quantiser = ResidualQuantiser(config.n_codebooks, config.codebook_size, config.encoder.dimension)
    return CodecNetwork(seanet_encoder(config.encoder), seanet_decoder(config.decoder), quantiser)


class EncodecCodec(NeuralCodec):
    """EnCodec as a codec object.

    Args:
        network: from `encodec_network(config)`, loaded.
        config: its shape.
        name: published name; made from the sample rate when empty.
    """

    def __init__(self, network: CodecNetwork, config: EncodecConfig, name: str = "") -> None:
        super().__init__(
            network,
            sample_rate=config.sample_rate,
            channels=config.encoder.channels,
            hop_length=config.hop_length,
            frame_rate_hz=config.frame_rate_hz,
            total_codebooks=config.n_codebooks,
            codebook_size=config.codebook_size,
            name=name or f"encodec_{config.sample_rate // 1000}khz",
        )
        self.config = config

    @property
    def kbps_per_codebook(self) -> float:
        # Both families count bandwidth in whole frames per second.
        return math.log2(self.codebook_size) * math.ceil(self.frame_rate_hz) / 1000

    def encode_samples(self, samples: Tensor, n_codebooks: int) -> EncodedAudio:
        layout = self.config.chunk_layout()
        if layout is not None:
            return encode_chunks(self, samples, n_codebooks, layout)
        codes, scale = self.encode_chunk(samples, n_codebooks)
        return EncodedAudio(codes, scale, n_samples=samples.shape[-1])

    def decode_codes(self, codes: Tensor, encoded: EncodedAudio) -> Tensor:
        layout = self.config.chunk_layout()
        if layout is not None:
            return decode_chunks(self, codes, encoded, layout)
        return self.decode_chunk(codes, encoded.scales)

    def latent_of_samples(self, samples: Tensor) -> Tensor:
        return super().latent_of_samples(self._normalised(samples)[0])

    def encode_chunk(self, samples: Tensor, n_codebooks: int) -> tuple[Tensor, Tensor | None]:
        """Samples `[B, C, n]` in one pass to codes `[B, K, T]` and scale `[B, 1]` or None."""
        samples, scale = self._normalised(samples)
        return self.quantiser.encode(super().latent_of_samples(samples), n_codebooks), scale

    def decode_chunk(self, codes: Tensor, scale: Tensor | None) -> Tensor:
        """Codes `[B, K, T]` in one pass to samples `[B, C, T * hop]`, times the scale `[B, 1]` if there is one."""
        samples = self.decode_from_latent(self.quantiser.decode(codes))
        return samples if scale is None else samples * scale.to(samples).view(-1, 1, 1)

    def stream(self, batch_size: int = 1, n_codebooks: int | None = None) -> CodecStream:
        if self.config.streams:
            return super().stream(batch_size, n_codebooks)
        return ChunkStream(self, batch_size, self.check_n_codebooks(n_codebooks), self.config.stream_layout())

    def _normalised(self, samples: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.config.renormalise:
            return samples, None
        mono = samples.mean(dim=1, keepdim=True)
        scale = 1e-8 + mono.pow(2).mean(dim=2, keepdim=True).sqrt()
        return samples / scale, scale.view(-1, 1)
