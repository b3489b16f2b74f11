"""Templates of parts around a checkpoint: conditioner and decoder."""

CONDITIONER_INIT = '''\
"""$name: a conditioner for SoundForge. Importing this module imports no torch; the factory does."""

import soundforge as sf
from soundforge.interfaces import ConditionerDescriptor

SOUNDFORGE_CONTRACT = 1


def _make(host, setup):
    from $module.part import $Part

    return $Part(setup.slot.width, setup.device)


@sf.hookimpl
def register_conditioners(register):
    register(ConditionerDescriptor("$part", feeds=("chroma",), fuse="sum", width=12, factory=_make,
                                   takes="a note such as 'A' or 'F#'", examples=("A", "F#"),
                                   summary="one pitch class throughout"))
'''

CONDITIONER = '''\
"""A note to one pitch class per frame, for slots called "chroma" (12 wide). No weights."""

import torch
from soundforge import ConditionError
from soundforge.interfaces import Condition

NOTES = "C C# D D# E F F# G G# A A# B".split()


class $Part:
    def __init__(self, width=12, device="cpu"):
        if width != 12:
            raise ConditionError(f"the slot takes {width} features, expected 12 pitch classes")
        self.device = device

    def prepare(self, value, context):
        """Check the value; slow work belongs here. None is the null condition."""
        if value is None or value == "":
            return None
        if not isinstance(value, str) or value not in NOTES:
            raise ConditionError(f"condition '$part' came as {value!r}, expected one of {' '.join(NOTES)}")
        return NOTES.index(value)

    def encode(self, prepared, context):
        """Features [B, frames, 12] and their mask; None gives a masked row of zeros."""
        values = torch.zeros(len(prepared), context.n_frames, 12)
        for row, note in enumerate(prepared):
            if note is not None:
                values[row, :, note] = 1.0
        real = torch.tensor([note is not None for note in prepared])
        mask = real[:, None].expand(-1, context.n_frames)
        return Condition(values.to(self.device), mask.to(self.device))
'''

CONDITIONER_TEST = '''\
import pytest
from soundforge import ConditionError
from soundforge.testing import DEFAULT_CONTEXT, plugin_checks

from $module.part import $Part

# Loading, and the whole contract with the descriptor's examples.
test_contract = plugin_checks("$module")


def test_a_note_is_one_pitch_class():
    part = $Part()
    condition = part.encode([part.prepare("A", DEFAULT_CONTEXT)], DEFAULT_CONTEXT)
    assert condition.values[0, 0].tolist() == [0.0] * 9 + [1.0, 0.0, 0.0]


def test_what_is_no_note_is_refused():
    with pytest.raises(ConditionError, match="expected one of"):
        $Part().prepare("H", DEFAULT_CONTEXT)
'''

DECODER_INIT = '''\
"""$name: a decoder for SoundForge. Importing this module imports no torch; the factory does."""

import soundforge as sf
from soundforge.interfaces import DecoderDescriptor

SOUNDFORGE_CONTRACT = 1


def _make(host, setup):
    from $module.part import $Part

    return $Part(setup.codec)


@sf.hookimpl
def register_decoders(register):
    register(DecoderDescriptor("$part", codecs=("starter", "encodec_32khz"), factory=_make,
                               summary="the codec's own decoder with a little tape hiss"))
'''

DECODER = '''\
"""The codec's own sound plus hiss from the seed; put your network in its place."""

import torch

HISS = 0.001


class $Part:
    def __init__(self, codec):
        self.codec = codec

    def decode(self, codes, *, seed, cancel, progress=None, noise=None, options=None):
        """Codes [B, K, T] to samples [B, C, T * hop_length]."""
        cancel.raise_if_cancelled()
        clean = self.codec.decode(codes)
        seeds = [seed] * len(clean) if isinstance(seed, int) else list(seed)
        hiss = [torch.randn(item.shape, generator=torch.Generator().manual_seed(own))
                for item, own in zip(clean, seeds)]
        if progress is not None:
            progress(codes.shape[-1], codes.shape[-1])
        return clean + HISS * torch.stack(hiss).to(clean)
'''

DECODER_TEST = '''\
from soundforge.testing import check_decoder, check_plugin
from soundforge.testing.tiny_model import tiny_codec

from $module.part import $Part


def test_the_plugin_loads_and_imports_no_torch():
    check_plugin("$module")


def test_the_decoder_keeps_the_contract():
    codec = tiny_codec()
    check_decoder($Part(codec), codec)
'''
