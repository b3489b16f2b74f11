"""Template of a codec: small and complete, streams included."""

CODEC_INIT = '''\
"""$name: a codec for SoundForge. Importing this module imports no torch; the factory does."""

import soundforge as sf
from soundforge.interfaces import CodecDescriptor

SOUNDFORGE_CONTRACT = 1


def _make(host, source):
    from $module.part import $Part

    return $Part()


@sf.hookimpl
def register_codecs(register):
    register(CodecDescriptor("$part", _make, sample_rate=8000, channels=1, frame_rate_hz=2000.0, n_codebooks=4,
                             codebook_size=256, summary="four samples of 8 bits as a frame"))
'''

CODEC = '''\
"""A codec without a network: a frame is four samples, each quantised to 8 bits as one codebook."""

import copy

import torch
from soundforge import AudioError, Waveform
from soundforge.interfaces import EncodedAudio


class $Part:
    sample_rate, channels, frame_rate_hz = 8000, 1, 2000.0
    hop_length, n_codebooks, codebook_size = 4, 4, 256

    def encode(self, wave, n_codebooks=None):
        samples = self._checked(wave)
        padded = torch.nn.functional.pad(samples, (0, -samples.shape[-1] % 4))
        frames = padded.reshape(samples.shape[0], -1, 4).transpose(1, 2)
        codes = ((frames.clamp(-1, 1) + 1) * 127.5).round().long()
        return EncodedAudio(codes[:, :n_codebooks], n_samples=samples.shape[-1])

    def decode(self, encoded):
        codes = encoded.codes if isinstance(encoded, EncodedAudio) else encoded
        samples = self.decode_latent(codes).transpose(1, 2).reshape(codes.shape[0], 1, -1)
        return samples[..., : encoded.n_samples] if isinstance(encoded, EncodedAudio) else samples

    def decode_latent(self, codes):
        missing = 4 - codes.shape[1]
        return torch.nn.functional.pad(codes.float() / 127.5 - 1, (0, 0, 0, missing))

    def stream(self, batch_size=1):
        return Stream(self, batch_size)

    def to(self, device):
        return self

    def _checked(self, wave):
        if isinstance(wave, Waveform):
            wave = torch.from_numpy(wave.with_channels(1).resampled(8000).samples.copy())[None]
        if wave.ndim != 3 or wave.shape[1] != 1 or not bool(torch.isfinite(wave).all()):
            raise AudioError(f"audio came with shape {list(wave.shape)}, expected finite floats [batch, 1, samples]")
        return wave


class Stream:
    """Samples that fill no frame yet wait for the next call."""

    lookahead_frames = 0

    def __init__(self, codec, batch_size):
        self.codec, self.batch_size = codec, batch_size
        self.waiting = torch.zeros(batch_size, 1, 0)

    def encode(self, samples):
        waiting = torch.cat([self.waiting, self.codec._checked(samples)], dim=-1)
        full = waiting.shape[-1] // 4 * 4
        self.waiting = waiting[..., full:]
        return self.codec.encode(waiting[..., :full]).codes

    def finish_encode(self):
        codes = self.codec.encode(self.waiting).codes
        self.waiting = self.waiting[..., :0]
        return codes

    def decode(self, codes):
        return self.codec.decode(codes)

    def finish_decode(self):
        return torch.zeros(self.batch_size, 1, 0)

    def clone(self):
        return copy.copy(self)
'''

CODEC_TEST = '''\
import $module
from soundforge.testing import check_codec, check_plugin

from $module.part import $Part


def test_the_plugin_loads_and_imports_no_torch():
    check_plugin("$module")


def test_the_codec_keeps_the_contract():
    registered = []
    $module.register_codecs(registered.append)
    check_codec($Part(), descriptor=registered[0])
'''
