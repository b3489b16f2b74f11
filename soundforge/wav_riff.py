"""The RIFF container of a WAV file: finding its chunks strictly, and laying out a new one.

Reading believes no size in the file before comparing it with the file's own, so a truncated or hostile file ends
in one `AudioError` and never in a large allocation.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from soundforge.errors import AudioError

MAX_CHUNKS = 10_000
MAX_RIFF_BYTES = 2**32 - 1
PCM, IEEE_FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


@dataclass(frozen=True, slots=True)
class Span:
    """One chunk: its four-letter name, where its body starts in the file, and the body's bytes."""

    name: bytes
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Format:
    """How the samples are stored. `bits` per sample; `is_float` False = integers."""

    channels: int
    sample_rate: int
    bits: int
    is_float: bool

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8


def scan(stream: BinaryIO, name: str) -> list[Span]:
    """All chunks of a WAV file, bodies unread.

    Raises:
        AudioError: not a RIFF WAVE file, or a chunk reaches beyond its end.
    """
    file_bytes = os.fstat(stream.fileno()).st_size
    head = stream.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise AudioError(f"{name!r} starts with {head[:12]!r}, expected a RIFF WAVE file")
    end = struct.unpack("<I", head[4:8])[0] + 8
    if end > file_bytes:
        raise AudioError(f"{name!r} claims {end} bytes and has {file_bytes}: it was cut off; copy it again")
    spans: list[Span] = []
    at = 12
    while at + 8 <= end:
        stream.seek(at)
        label, size = struct.unpack("<4sI", stream.read(8))
        if at + 8 + size > end:
            raise AudioError(f"{name!r} holds a chunk {label!r} of {size} bytes that reaches beyond its end")
        spans.append(Span(label, at + 8, size))
        if len(spans) > MAX_CHUNKS:
            raise AudioError(f"{name!r} holds more than {MAX_CHUNKS} chunks; this is no WAV file that we can use")
        at += 8 + size + size % 2
    return spans


def body(stream: BinaryIO, span: Span, limit: int) -> bytes:
    """A chunk's body; at most `limit` bytes are taken, a larger one is an `AudioError`."""
    if span.size > limit:
        raise AudioError(f"the chunk {span.name!r} has {span.size} bytes, expected at most {limit}")
    stream.seek(span.offset)
    return stream.read(span.size)


def decode_format(data: bytes, name: str) -> Format:
    """The `fmt ` chunk.

    Raises:
        AudioError: too short, or neither integers nor floats of a usual width.
    """
    if len(data) < 16:
        raise AudioError(f"{name!r} has a format chunk of {len(data)} bytes, expected 16 or more")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", data)
    if tag == EXTENSIBLE and len(data) >= 40 and data[26:40] == _GUID_TAIL:
        tag = struct.unpack_from("<H", data, 24)[0]
    usual = (tag == PCM and bits in (8, 16, 24, 32)) or (tag == IEEE_FLOAT and bits in (32, 64))
    if not usual or not 1 <= channels <= 64 or block != channels * bits // 8:
        raise AudioError(f"{name!r} holds format {tag}, {channels} channels, {bits} bits; expected a WAV file of "
                         "8 to 32-bit integers or 32 or 64-bit floats with 1 to 64 channels")
    return Format(channels, rate, bits, tag == IEEE_FLOAT)


def encode_format(fmt: Format) -> bytes:
    """The `fmt ` chunk; more than two channels need the extensible form, by which players place them."""
    tag = IEEE_FLOAT if fmt.is_float else PCM
    extensible = fmt.channels > 2
    block = fmt.frame_bytes
    head = struct.pack("<HHIIHH", EXTENSIBLE if extensible else tag, fmt.channels, fmt.sample_rate,
                       min(fmt.sample_rate * block, 2**32 - 1), block, fmt.bits)
    if extensible:
        return head + struct.pack("<HHIH", 22, fmt.bits, 0, tag) + _GUID_TAIL
    return head + (struct.pack("<H", 0) if fmt.is_float else b"")


def to_bytes(samples: NDArray[np.float32], bits: int) -> NDArray[np.uint8]:
    """Samples `[C, T]` within [-1, 1] (any for 32) as interleaved bytes: 32-bit float, or 24 or 16-bit integers."""
    interleaved = np.ascontiguousarray(samples.T, dtype="<f4")
    if bits == 32:
        return interleaved.view(np.uint8).reshape(-1)
    scale = float(2 ** (bits - 1))
    # +1.0 has no integer of its own: it becomes the largest one.
    whole = np.minimum(np.rint(interleaved.astype(np.float64) * scale), scale - 1).astype("<i4")
    as_bytes = np.ascontiguousarray(whole).view(np.uint8).reshape(-1, 4)
    return np.ascontiguousarray(as_bytes[:, :bits // 8]).reshape(-1)


def layout(chunks: Sequence[tuple[bytes, bytes | NDArray[np.uint8]]]) -> Iterator[bytes | memoryview]:
    """The bytes of a WAV file with these chunks in this order, in pieces.

    Raises:
        AudioError: larger than the 4 GiB that the format can say.
    """
    sizes = [len(data) for _, data in chunks]
    total = 4 + sum(8 + size + size % 2 for size in sizes)
    if total > MAX_RIFF_BYTES:
        raise AudioError(f"{total / 2**30:.1f} GiB were to be written, a WAV file holds 4; write it in parts")

    def pieces() -> Iterator[bytes | memoryview]:
        yield b"RIFF" + struct.pack("<I", total) + b"WAVE"
        for (label, data), size in zip(chunks, sizes, strict=True):
            yield label + struct.pack("<I", size)
            yield data if isinstance(data, bytes) else data.data
            if size % 2:
                yield b"\0"

    return pieces()
