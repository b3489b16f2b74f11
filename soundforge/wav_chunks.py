"""The standard chunks of a WAV file as bytes and back: tempo, loop, texts, origination.

    acid        tempo, whole beats, metre: what DAWs stretch by
    smpl        the loop, as sample positions
    LIST INFO   name, comment, software, date
    bext        origination and the position on the timeline (EBU Tech 3285)

All numbers are little-endian. Decoders take the chunk's body and give None for one that makes no sense: a strange
chunk in somebody else's file is no reason to refuse its audio.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

WHOLE_BEAT_TOLERANCE = 0.02
"""A length this near to whole beats is taken as a loop (at 120 bpm 10 ms, below any codec frame)."""

ONE_SHOT, STRETCH = 0x01, 0x04
_ACID = struct.Struct("<IHHfIHHf")
_SMPL = struct.Struct("<9I")
_LOOP = struct.Struct("<6I")
_BEXT = struct.Struct("<256s32s32s10s8sQH")
BEXT_BODY_BYTES = 602
MIDDLE_C = 60


@dataclass(frozen=True, slots=True)
class Acid:
    """Tempo as DAWs read it. `beats` is a whole number; `one_shot` = not a loop of whole beats."""

    bpm: float
    beats: int
    beats_per_bar: int = 4
    beat_unit: int = 4
    one_shot: bool = False

    @staticmethod
    def of_length(seconds: float, bpm: float, beats_per_bar: int) -> Acid:
        """For audio of this length: a loop when it holds whole beats, else a one-shot that carries its tempo."""
        beats = seconds * bpm / 60.0
        whole = round(beats)
        one_shot = whole < 1 or abs(beats - whole) > WHOLE_BEAT_TOLERANCE
        return Acid(bpm, max(whole, 1), beats_per_bar, 4, one_shot)


def encode_acid(acid: Acid) -> bytes:
    flags = ONE_SHOT if acid.one_shot else STRETCH
    # 0x8000 and 0.0 stand where every published writer has them; nobody documents a meaning.
    return _ACID.pack(flags, MIDDLE_C, 0x8000, 0.0, acid.beats, acid.beat_unit, acid.beats_per_bar, acid.bpm)


def decode_acid(body: bytes) -> Acid | None:
    if len(body) < _ACID.size:
        return None
    flags, _, _, _, beats, unit, per_bar, bpm = _ACID.unpack_from(body)
    if not math.isfinite(bpm) or not 1.0 <= bpm <= 9999.0:
        return None
    return Acid(bpm, beats, per_bar if 1 <= per_bar <= 64 else 4, unit if 1 <= unit <= 64 else 4,
                bool(flags & ONE_SHOT))


def encode_smpl(sample_rate: int, loops: list[tuple[int, int]]) -> bytes:
    """Loops as (first, last) sample, both inclusive as the format has it, repeated for ever."""
    head = _SMPL.pack(0, 0, round(1e9 / sample_rate), MIDDLE_C, 0, 0, 0, len(loops), 0)
    return head + b"".join(_LOOP.pack(number, 0, first, last, 0, 0) for number, (first, last) in enumerate(loops))


def decode_smpl(body: bytes) -> list[tuple[int, int]] | None:
    if len(body) < _SMPL.size:
        return None
    count = _SMPL.unpack_from(body)[7]
    if len(body) < _SMPL.size + count * _LOOP.size:
        return None
    found = (_LOOP.unpack_from(body, _SMPL.size + i * _LOOP.size) for i in range(count))
    return [(first, last) for _, _, first, last, _, _ in found]


def encode_info(texts: Mapping[str, str]) -> bytes:
    """`LIST INFO` from texts by four-letter name (INAM name, ICMT comment, ISFT software, ICRD date)."""
    body = b"INFO"
    for name, text in texts.items():
        value = text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
        body += name.encode("ascii") + struct.pack("<I", len(value)) + value + b"\0" * (len(value) % 2)
    return body


def decode_info(body: bytes) -> dict[str, str] | None:
    if body[:4] != b"INFO":
        return None
    texts: dict[str, str] = {}
    at = 4
    while at + 8 <= len(body):
        name, size = body[at:at + 4], struct.unpack_from("<I", body, at + 4)[0]
        if at + 8 + size > len(body):
            return None
        texts[name.decode("ascii", "replace")] = body[at + 8:at + 8 + size].split(b"\0")[0].decode("utf-8", "replace")
        at += 8 + size + size % 2
    return texts


@dataclass(frozen=True, slots=True)
class Origination:
    """Where a file came from. `time_reference` = samples since the start of the timeline; `date` as yyyy-mm-dd,
    `time` as hh:mm:ss."""

    description: str = ""
    originator: str = ""
    reference: str = ""
    date: str = ""
    time: str = ""
    time_reference: int = 0


def encode_bext(origin: Origination) -> bytes:
    def fixed(text: str, size: int) -> bytes:
        return text.encode("ascii", "replace")[:size]

    return _BEXT.pack(fixed(origin.description, 256), fixed(origin.originator, 32), fixed(origin.reference, 32),
                      fixed(origin.date, 10), fixed(origin.time, 8), max(0, origin.time_reference), 1,
                      ).ljust(BEXT_BODY_BYTES, b"\0")


def decode_bext(body: bytes) -> Origination | None:
    if len(body) < BEXT_BODY_BYTES:
        return None
    *fixed, time_reference, _ = _BEXT.unpack_from(body)
    description, originator, reference, date, time = (
        text.split(b"\0")[0].decode("ascii", "replace") for text in fixed)
    return Origination(description, originator, reference, date, time, time_reference)
