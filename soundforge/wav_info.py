"""What a WAV file says about itself, its samples unread: format, tempo, loops, texts, origination, record."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from soundforge.audio import check_sample_rate
from soundforge.errors import AudioError
from soundforge.wav_chunks import Acid, Origination, decode_acid, decode_bext, decode_info, decode_smpl
from soundforge.wav_record import MAX_RECORD_BYTES, decode_record
from soundforge.wav_riff import Span, body, decode_format, scan

_SMALL = 1 << 20
"""No standard chunk that we read is larger; a hostile size is refused before it is read."""


@dataclass(frozen=True)
class WavInfo:
    """What a WAV file says about itself, its samples unread.

    Args:
        sample_rate: Hz.
        channels: how many.
        n_samples: per channel.
        bits: of one sample.
        is_float: floats or integers.
        acid: tempo, or None.
        loops: (first, last) sample of each loop, both inclusive.
        texts: `LIST INFO` by four-letter name.
        origin: `bext`, or None.
        record: what the chunk `sfrg` holds, {} without one.
        file_bytes: size of the file.
    """

    sample_rate: int
    channels: int
    n_samples: int
    bits: int
    is_float: bool
    acid: Acid | None = None
    loops: tuple[tuple[int, int], ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    origin: Origination | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    file_bytes: int = 0

    @property
    def seconds(self) -> float:
        return self.n_samples / self.sample_rate

    @property
    def bpm(self) -> float | None:
        """Tempo from the record, else from `acid`, else None."""
        value = self.record.get("bpm")
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 1.0 <= value <= 9999.0:
            return float(value)
        return self.acid.bpm if self.acid else None


def read_info(path: str | PathLike[str], *, with_record: bool = True) -> WavInfo:
    """What a WAV file says about itself, without its samples.

    Args:
        path: the file.
        with_record: read the chunk `sfrg` too (it holds the codes and may have a megabyte).

    Raises:
        AudioError: missing, truncated or damaged file, or no WAV.
    """
    name = str(path)
    try:
        with Path(path).open("rb") as stream:
            spans: dict[bytes, Span] = {}
            for span in scan(stream, name):
                spans.setdefault(span.name, span)
            if b"fmt " not in spans or b"data" not in spans:
                raise AudioError(f"{name!r} has no {'format' if b'data' in spans else 'data'} chunk; "
                                 "this is no WAV file that we can use")
            fmt = decode_format(body(stream, spans[b"fmt "], _SMALL), name)
            check_sample_rate(fmt.sample_rate)

            def chunk(label: bytes) -> bytes:
                span = spans.get(label)
                return body(stream, span, _SMALL) if span and span.size <= _SMALL else b""

            record = {}
            if with_record and b"sfrg" in spans:
                record = decode_record(body(stream, spans[b"sfrg"], MAX_RECORD_BYTES), name)
            return WavInfo(
                fmt.sample_rate, fmt.channels, spans[b"data"].size // fmt.frame_bytes, fmt.bits, fmt.is_float,
                acid=decode_acid(chunk(b"acid")), loops=tuple(decode_smpl(chunk(b"smpl")) or ()),
                texts=decode_info(chunk(b"LIST")) or {}, origin=decode_bext(chunk(b"bext")), record=record,
                file_bytes=stream.seek(0, 2))
    except (OSError, ValueError, struct.error) as error:
        if isinstance(error, AudioError):
            raise
        raise AudioError(f"cannot read {name!r} ({error}); expected a WAV file") from error
