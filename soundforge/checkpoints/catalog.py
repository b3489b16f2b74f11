"""The published checkpoints that SoundForge knows: what they are, what they weigh, and what may be done with them.

Parameters are those of the language model, counted from its hyper-parameters (the names on the hub round them,
and leave cross-attention out). Download sizes are in gigabytes (10^9 bytes), estimated from the parameters and
the precision on the hub, the text encoder and codec included. Importing this module imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NON_COMMERCIAL = "CC-BY-NC-4.0"


@dataclass(frozen=True)
class CatalogEntry:
    """A published checkpoint.

    Args:
        name: on the hub.
        kind: "language model", "codec", "decoder", "flow matching" or "masked decoding".
        summary: one line.
        parameters_millions: of the language model, or of the codec; None = not known.
        download_gb: what `pull` fetches, companions included; None = not known.
        licence: of the weights.
        sample_rate: Hz.
        channels: of the audio.
        slots: condition names it takes.
        window_seconds: longest sequence it was trained on; 0 for codecs.
        supported: False: listed, but cannot be loaded yet.
        companions: further hub names it needs.
    """

    name: str
    kind: str
    summary: str
    parameters_millions: int | None
    download_gb: float | None
    licence: str
    sample_rate: int
    channels: int
    slots: tuple[str, ...] = ()
    window_seconds: float = 0.0
    supported: bool = True
    companions: tuple[str, ...] = field(default_factory=tuple)

    @property
    def short_name(self) -> str:
        """The name without its owner."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def commercial_use(self) -> bool:
        """Whether the weights' licence allows it."""
        return self.licence != NON_COMMERCIAL


def _musicgen(size: str, parameters: int, download: float, summary: str, *, channels: int = 1,
              slots: tuple[str, ...] = ("text",), companions: tuple[str, ...] = ()) -> CatalogEntry:
    return CatalogEntry(f"facebook/musicgen-{size}", "language model", summary, parameters, download, NON_COMMERCIAL,
                        32000, channels, slots, 30.0, companions=companions)


_MELODY = ("chroma", "text")

_ENTRIES = (
    _musicgen("small", 420, 2.4, "text to music"),
    _musicgen("medium", 1837, 8.0, "text to music"),
    _musicgen("large", 3255, 13.7, "text to music"),
    _musicgen("melody", 1384, 6.2, "text and melody to music", slots=_MELODY),
    _musicgen("melody-large", 2449, 10.5, "text and melody to music", slots=_MELODY),
    _musicgen("style", 1384, 4.4, "text and the style of a recording to music", slots=("style", "text"),
              companions=("t5-base", "facebook/encodec_32khz", "m-a-p/MERT-v1-95M")),
    _musicgen("stereo-small", 436, 2.4, "text to stereo music", channels=2),
    _musicgen("stereo-medium", 1862, 8.1, "text to stereo music", channels=2),
    _musicgen("stereo-large", 3288, 13.8, "text to stereo music", channels=2),
    _musicgen("stereo-melody", 1409, 6.3, "text and melody to stereo music", channels=2, slots=_MELODY),
    _musicgen("stereo-melody-large", 2483, 10.6, "text and melody to stereo music", channels=2, slots=_MELODY),
    CatalogEntry("facebook/audiogen-medium", "language model", "text to sounds and ambiences", 1837, 6.9,
                 NON_COMMERCIAL, 16000, 1, ("text",), 10.0, companions=("t5-large",)),
    CatalogEntry("facebook/encodec_32khz", "codec", "EnCodec of MusicGen, 4 codebooks, 50 Hz", 59, 0.24,
                 NON_COMMERCIAL, 32000, 1),
    CatalogEntry("facebook/encodec_24khz", "codec", "EnCodec, causal, up to 32 codebooks, 75 Hz", 15, 0.09,
                 "see the model card", 24000, 1),
    CatalogEntry("facebook/encodec_48khz", "codec", "EnCodec, stereo music, up to 16 codebooks, 150 Hz", 15, 0.08,
                 "see the model card", 48000, 2),
    CatalogEntry("facebook/multiband-diffusion", "decoder", "diffusion decoder for EnCodec at 32 and 24 kHz (--decoder "
                 "mbd)", None, None, NON_COMMERCIAL, 32000, 1),
    CatalogEntry("descript/dac_16khz", "codec", "Descript Audio Codec, 12 codebooks, 50 Hz", 74, 0.3, "MIT", 16000, 1),
    CatalogEntry("descript/dac_24khz", "codec", "Descript Audio Codec, 32 codebooks, 75 Hz", 75, 0.3, "MIT", 24000, 1),
    CatalogEntry("descript/dac_44khz", "codec", "Descript Audio Codec, 9 codebooks, 86 Hz", 77, 0.31, "MIT", 44100, 1),
    CatalogEntry("facebook/jasco-chords-drums-400M", "flow matching", "text, chords and drums to music", 400, 1.9,
                 NON_COMMERCIAL, 32000, 1, ("chords", "drums", "text"), 10.0,
                 companions=("t5-base", "facebook/encodec_32khz")),
    CatalogEntry("facebook/jasco-chords-drums-1B", "flow matching", "text, chords and drums to music", 1000, 4.9,
                 NON_COMMERCIAL, 32000, 1, ("chords", "drums", "text"), 10.0,
                 companions=("t5-base", "facebook/encodec_32khz")),
    CatalogEntry("facebook/jasco-chords-drums-melody-400M", "flow matching", "text, chords, drums, melody to music",
                 400, 1.9, NON_COMMERCIAL, 32000, 1, ("chords", "drums", "melody", "text"), 10.0,
                 companions=("t5-base", "facebook/encodec_32khz")),
    CatalogEntry("facebook/jasco-chords-drums-melody-1B", "flow matching", "text, chords, drums, melody to music",
                 1000, 4.9, NON_COMMERCIAL, 32000, 1, ("chords", "drums", "melody", "text"), 10.0,
                 companions=("t5-base", "facebook/encodec_32khz")),
    CatalogEntry("facebook/magnet-small-10secs", "masked decoding", "text to music, not autoregressive", 420, 1.9,
                 NON_COMMERCIAL, 32000, 1, ("text",), 10.0,
                 companions=("t5-base",)),
    CatalogEntry("facebook/magnet-medium-10secs", "masked decoding", "text to music, not autoregressive", 1837, 4.8,
                 NON_COMMERCIAL, 32000, 1, ("text",), 10.0,
                 companions=("t5-base",)),
    CatalogEntry("facebook/magnet-small-30secs", "masked decoding", "text to music, not autoregressive", 420, 1.9,
                 NON_COMMERCIAL, 32000, 1, ("text",), 30.0,
                 companions=("t5-base",)),
    CatalogEntry("facebook/magnet-medium-30secs", "masked decoding", "text to music, not autoregressive", 1837, 4.8,
                 NON_COMMERCIAL, 32000, 1, ("text",), 30.0,
                 companions=("t5-base",)),
    CatalogEntry("facebook/audio-magnet-small", "masked decoding", "text to sounds, not autoregressive", 420, 3.9,
                 NON_COMMERCIAL, 16000, 1, ("text",), 10.0,
                 companions=("t5-large",)),
    CatalogEntry("facebook/audio-magnet-medium", "masked decoding", "text to sounds, not autoregressive", 1837, 6.9,
                 NON_COMMERCIAL, 16000, 1, ("text",), 10.0,
                 companions=("t5-large",)),
)

CATALOG: dict[str, CatalogEntry] = {entry.name: entry for entry in _ENTRIES}


def find(name: str) -> CatalogEntry | None:
    """The entry of a hub name, with or without its owner; None when it is not listed."""
    if name in CATALOG:
        return CATALOG[name]
    return next((entry for entry in _ENTRIES if entry.short_name == name), None)
