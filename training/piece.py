"""What a composition is: notes, tracks and exact labels, before any sound exists."""

from __future__ import annotations

from dataclasses import dataclass, field

from soundforge.nn.starter_conditions import SCALES as SCALES

DRUM_NAMES: tuple[str, ...] = (
    "kick",
    "snare",
    "clap",
    "rim",
    "hat",
    "open_hat",
    "ride",
    "crash",
    "tom_low",
    "tom_high",
    "shaker",
    "cowbell",
    "conga",
    "clave",
)

PITCH_CLASSES: tuple[str, ...] = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


@dataclass(frozen=True, slots=True)
class Note:
    """One event. ``pitch`` is a MIDI number, or for drum tracks an index into ``DRUM_NAMES``."""

    start_beats: float
    length_beats: float
    pitch: int
    velocity: float  # 0 .. 1


@dataclass(frozen=True, slots=True)
class Track:
    """One part: who plays (``source``, ``patch``), what (``notes``), how loud and through which effects."""

    role: str  # "drums", "bass", "chords", "lead", "arp", "texture"
    source: str  # "synth", "soundfont" or "samples"
    patch: str  # name within the source, as captions say it
    patch_seed: int  # fixes every random property of the patch
    notes: tuple[Note, ...]
    gain: float = 1.0
    cutoff_hz: float | None = None
    delay_mix: float = 0.0
    reverb_mix: float = 0.0
    duck_by_kick: float = 0.0
    drive: float = 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage that starts on bar 1 beat 1 and repeats a loop of ``loop_bars`` with small variations."""

    seed: int
    style: str
    bpm: float
    beats_per_bar: int
    loop_bars: int
    bars: int
    key: int  # pitch class of the tonic, 0 = C
    mode: str
    tracks: tuple[Track, ...]
    energy: int  # 0 calm, 1 medium, 2 driving
    brightness: int  # 0 dark, 1 neutral, 2 bright
    mood: str
    level_db: float  # RMS level the passage is scaled to, dB re full scale
    held_out: bool = False
    effects: tuple[str, ...] = field(default_factory=tuple)

    @property
    def has_drums(self) -> bool:
        """Whether any drum track sounds."""
        return any(track.role == "drums" for track in self.tracks)

    @property
    def seconds(self) -> float:
        """Exact length of all bars in seconds (tails of the last notes are cut there)."""
        return self.bars * self.beats_per_bar * 60.0 / self.bpm

    @property
    def onsets_per_second(self) -> float:
        """Moments at which something begins, a second; within 40 ms they count as one."""
        moments = {round(note.start_beats * 60.0 / self.bpm / 0.04) for track in self.tracks for note in track.notes}
        return len(moments) / self.seconds

    def labels(self) -> dict[str, object]:
        """All labels as plain JSON values; exact, because the piece was composed from them."""
        return {
            "seed": self.seed,
            "style": self.style,
            "bpm": self.bpm,
            "beats_per_bar": self.beats_per_bar,
            "loop_bars": self.loop_bars,
            "bars": self.bars,
            "key": PITCH_CLASSES[self.key],
            "mode": self.mode,
            "drums": self.has_drums,
            "instruments": [track.patch for track in self.tracks if track.role != "drums"],
            "roles": [track.role for track in self.tracks],
            "energy": self.energy,
            "brightness": self.brightness,
            "mood": self.mood,
            "held_out": self.held_out,
        }
