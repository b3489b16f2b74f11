"""Streams of codecs that normalise over all they are given, and so need whole chunks.

They are exact per chunk and not finer: group normalisation and the loudness scale are statistics of the whole
chunk, so its first frame depends on its last sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from soundforge.errors import AudioError
from soundforge.nn.encodec_chunks import ChunkLayout, OverlapAdder, filled
from soundforge.nn.streaming_session import take_piece

if TYPE_CHECKING:
    from soundforge.nn.encodec import EncodecCodec


class ChunkStream:
    """Stream of a codec that needs whole chunks.

    It equals the one-shot result of a codec that is chunked anyway; of one that normalises over the whole
    signal it equals chunk-wise coding (`why_per_chunk`). Memory is that of one chunk.

    Args:
        codec: whose weights are used.
        batch_size: B of everything that is fed.
        n_codebooks: codebooks that `encode` gives.
        layout: how the signal is cut.
    """

    why_per_chunk = (
        "exact per chunk only: the model normalises over all the audio it is given, "
        "so the first frame of a chunk depends on its last sample"
    )

    def __init__(self, codec: EncodecCodec, batch_size: int, n_codebooks: int, layout: ChunkLayout) -> None:
        self._codec = codec
        self._batch_size = batch_size
        self._n_codebooks = n_codebooks
        self._layout = layout
        self.lookahead_frames = layout.frames
        self._samples: Tensor | None = codec.silence(batch_size, 0)
        self._codes: Tensor | None = None
        self._decoding = True
        self._adder = OverlapAdder(layout.stride_samples)
        self._several = False
        self._scales: list[Tensor] = []
        self._given_scales: list[Tensor] = []

    def take_scales(self) -> Tensor | None:
        """`[B, c]` scales of the chunks encoded since they were last taken, or None; `decode` takes them back."""
        scales, self._scales = self._scales, []
        return torch.cat(scales, dim=1) if scales else None

    @torch.no_grad()
    def encode(self, samples: Tensor) -> Tensor:
        """Samples `[B, C, n]` to the codes `[B, K, m]` of the chunks that are complete by now."""
        if self._samples is None:
            raise AudioError("this stream has finished encoding; take a fresh one with codec.stream()")
        samples = take_piece(self._codec, samples)
        self._check_batch(samples)
        held = torch.cat([self._samples, samples], dim=-1)
        done = []
        while held.shape[-1] >= self._layout.samples:
            done.append(self._encode_chunk(held[..., : self._layout.samples]))
            held = held[..., self._layout.stride_samples :]
        self._samples = held.clone()
        self._several |= bool(done)
        return self._joined(done)

    @torch.no_grad()
    def finish_encode(self) -> Tensor:
        """The codes of what is left, as if the audio ended here: `[B, K, m]`. Encoding is over then."""
        held, self._samples = self._samples, None
        done = []
        while held is not None and held.shape[-1]:
            done.append(self._encode_chunk(held[..., : self._layout.samples]))
            held = held[..., self._layout.stride_samples :]
        if self._several or len(done) > 1:
            done = [filled(piece, self._layout.frames) for piece in done]
        return self._joined(done)

    @torch.no_grad()
    def decode(self, codes: Tensor, scales: Tensor | None = None) -> Tensor:
        """Codes `[B, K, n]` to the samples `[B, C, m]` that are final by now.

        Args:
            codes: the next codes; chunks follow each other as `encode` gives them.
            scales: `[B, c]` scales of the next c chunks, None to decode without.
        """
        if not self._decoding:
            raise AudioError("this stream has finished decoding; take a fresh one with codec.stream()")
        codes = self._codec.check_codes(codes)
        self._check_batch(codes)
        if scales is not None:
            self._given_scales = [*self._given_scales, *(scale[:, None] for scale in scales.unbind(1))]
        held = codes if self._codes is None else torch.cat([self._codes, codes], dim=-1)
        done = []
        while held.shape[-1] >= self._layout.frames:
            done.append(self._decode_chunk(held[..., : self._layout.frames]))
            held = held[..., self._layout.frames :]
        self._codes = held.clone()
        return torch.cat([self._codec.silence(self._batch_size, 0), *done], dim=-1)

    @torch.no_grad()
    def finish_decode(self) -> Tensor:
        """The samples still held back: `[B, C, m]`. Decoding is over then."""
        done = [self._codec.silence(self._batch_size, 0)]
        if self._decoding:
            if self._codes is not None and self._codes.shape[-1]:
                done.append(self._decode_chunk(self._codes))
            done.append(self._adder.finish(done[0]))
        self._decoding, self._codes = False, None
        return torch.cat(done, dim=-1)

    def clone(self) -> ChunkStream:
        """An independent copy of the state; tensors are shared, nothing writes to them."""
        copy = object.__new__(ChunkStream)
        copy.__dict__.update(self.__dict__)
        copy._adder = self._adder.clone()
        copy._scales = list(self._scales)
        return copy

    def _encode_chunk(self, samples: Tensor) -> Tensor:
        codes, scale = self._codec.encode_chunk(samples, self._n_codebooks)
        if scale is not None:
            self._scales.append(scale)
        return codes

    def _decode_chunk(self, codes: Tensor) -> Tensor:
        scale = self._given_scales[0] if self._given_scales else None
        self._given_scales = self._given_scales[1:]
        return self._adder.add(self._codec.decode_chunk(codes, scale))

    def _joined(self, codes: list[Tensor]) -> Tensor:
        return torch.cat([self._codec.no_codes(self._batch_size, self._n_codebooks), *codes], dim=-1)

    def _check_batch(self, tensor: Tensor) -> None:
        if tensor.shape[0] != self._batch_size:
            raise AudioError(f"a batch of {tensor.shape[0]} came, this stream was made for {self._batch_size}")
