"""Melody, style, and changes while a clip is being made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soundforge.audio import Waveform
from training import metrics
from training.compose import HELD_OUT_SEED, compose
from training.evaluation import measures
from training.evaluation.making import Job, Maker
from training.evaluation.material import RATE, Wave, held_out_loops
from training.evaluation.report import Figure, mean, two_auc
from training.render import render

SECONDS = 6.0


def melodies(count: int, first: int = 30_000) -> list[Wave]:
    """Lead and arpeggio tracks of held-out pieces, alone and dry of drums."""
    out: list[Wave] = []
    seed = HELD_OUT_SEED + first
    while len(out) < count:
        piece = compose(seed)
        seed += 1
        tracks = tuple(t for t in piece.tracks if t.role in ("lead", "arp") and len(t.notes) > 8)
        if tracks:
            out.append(render(replace(piece, tracks=tracks[:1]))[RATE * 2 : RATE * 2 + round(SECONDS * RATE)])
    return out


def melody_rows(maker: Maker, count: int) -> dict[str, dict[str, Figure | str]]:
    """Cosine of given and made chroma frame by frame, against other clips' melodies."""
    given = melodies(count)
    chroma = [measures.frame_chroma(wave) for wave in given]
    rows: dict[str, dict[str, Figure | str]] = {}
    for name, text in (("melody alone", None), ("melody and a text", "synthwave, saw lead, no drums")):
        jobs = [
            Job({"chroma": Waveform(wave, RATE)} | ({"text": text} if text else {}), seed=index)
            for index, wave in enumerate(given)
        ]
        heard = [measures.frame_chroma(wave) for wave in maker.make(jobs, SECONDS)[0]]
        own = [measures.chroma_cosine(a, b) for a, b in zip(chroma, heard, strict=True)]
        other = [measures.chroma_cosine(chroma[(i + 1) % count], b) for i, b in enumerate(heard)]
        rows[name] = {"given melody": mean(own), "another melody": mean(other), "AUC": two_auc(own, other)}
    rows["the melody itself, through the codec"] = {
        "given melody": mean([
            measures.chroma_cosine(c, measures.frame_chroma(through(maker, w)))
            for c, w in zip(chroma, given, strict=True)
        ])
    }  # fmt: skip
    return rows


def through(maker: Maker, wave: Wave) -> Wave:
    """Encoded and decoded with the language model's codebooks."""
    samples: Wave = maker.codec.decode(maker.codes([wave[: len(wave) // 640 * 640]]))[0, 0].numpy()
    return samples


def style_row(maker: Maker, count: int) -> dict[str, Figure | str]:
    """Whether a clip is nearer to its excerpt than to 9 of 10 others, by mean MFCC."""
    loops = held_out_loops(count, 4.0, first=40_000)
    jobs = [Job({"style": Waveform(loop.prompt, RATE)}, seed=index) for index, loop in enumerate(loops)]
    made = maker.make(jobs, 4.0)[0]
    a = np.stack([metrics.mean_mfcc(loop.prompt) for loop in loops])
    b = np.stack([metrics.mean_mfcc(wave) for wave in made])
    distance = np.linalg.norm((a[:, None] - b[None]) / a.std(axis=0), axis=-1)
    own = np.diag(distance)
    beaten = np.array([(np.delete(distance[:, i], i) > own[i]).mean() for i in range(count)])
    return {
        "nearer than to 9 of 10 others": mean((beaten >= 0.9).astype(np.float64)),
        "share of others beaten": mean(beaten),
    }


def _after_bar(wave: Wave, bpm: float, change: float, bars: int = 1) -> Wave:
    """The bar that begins one bar after the change at ``change`` seconds."""
    bar = 4 * 60.0 / bpm
    start = round((change + bar) * RATE)
    return wave[start : start + round(bars * bar * RATE)]


def steering_rows(maker: Maker, count: int) -> dict[str, dict[str, Figure | str]]:
    """Text, tempo and chords changed after two bars; measured one bar later, against clips without the change."""
    bpm = 120.0
    change = 4.0
    before = [Job({"text": "techno, no drums, synth pad"}, bpm=bpm, seed=index) for index in range(count)]
    after = [replace(job, conditions={"text": "techno, drums only"}) for job in before]
    kept = maker.make(before, 10.0)[0]
    turned = maker.make(before, 10.0, change_at=change, later=after)[0]
    ratio = [[measures.percussive_ratio(_after_bar(w, bpm, change)) for w in part] for part in (turned, kept)]
    rows: dict[str, dict[str, Figure | str]] = {
        "text: no drums to drums only": {"measure": "AUC of percussive to harmonic", "figure": two_auc(*ratio)}
    }
    drums = [Job({"text": "house with drums"}, bpm=bpm, seed=index) for index in range(count)]
    faster = [replace(job, bpm=150.0) for job in drums]
    made = maker.make(drums, 10.0, change_at=change, later=faster)[0]
    right = [float(measures.tempo_error(w[round((change + 2.0) * RATE) :], 150.0) <= 0.03) for w in made]
    rows["tempo: 120 to 150 BPM"] = {"measure": "150 within 3 % from one bar on", "figure": mean(right)}
    first, second = chord(0, "major"), chord(6, "major")
    plain = [Job({"text": "synth pad, no drums", "chroma": first}, bpm=bpm, seed=index) for index in range(count)]
    moved = [replace(job, conditions={"text": "synth pad, no drums", "chroma": second}) for job in plain]
    made = maker.make(plain, 10.0, change_at=change, later=moved)[0]
    new, old = (measures.frame_chroma(c.samples[0])[50:150].mean(axis=0) for c in (second, first))
    gain = []
    for wave in made:
        heard = measures.frame_chroma(_after_bar(wave, bpm, change)).mean(axis=0)
        gain.append(float(heard @ new / np.linalg.norm(new) > heard @ old / np.linalg.norm(old)))
    rows["chords: C major to F sharp major"] = {"measure": "nearer to the new chord", "figure": mean(gain)}
    return rows


def prompted_row(maker: Maker, count: int) -> dict[str, Figure | str]:
    """Continuations of prompts without drums whose text asks for drums, against those whose text asks for none."""
    loops = [loop for loop in held_out_loops(6 * count, 4.0, first=60_000) if loop.piece and not loop.piece.has_drums]
    jobs = [
        Job(prompt=loop.prompt, seed=index, bpm=loop.bpm, beats_per_bar=loop.beats_per_bar, start_beat=loop.start_beat)
        for index, loop in enumerate(loops[:count])
    ]
    ratios = [
        [measures.percussive_ratio(w) for w in maker.make([replace(j, conditions={"text": t}) for j in jobs], 4.0)[0]]
        for t in ("with drums, drum beat", "no drums")
    ]
    return {"measure": "AUC of percussive to harmonic", "figure": two_auc(*ratios)}


def chord(root: int, mode: str) -> Waveform:
    """Twelve seconds of a held triad of saw waves."""
    time = np.arange(12 * RATE) / RATE
    third = 4 if mode == "major" else 3
    notes = np.array([440.0 * 2 ** ((60 + root + step - 69) / 12) for step in (0, third, 7)])
    wave = 0.1 * ((time * notes[:, None]) % 1.0 - 0.5).sum(axis=0)
    return Waveform(np.asarray(wave, dtype=np.float32), RATE)
