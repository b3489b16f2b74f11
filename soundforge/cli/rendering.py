"""How `soundforge render` turns options, or an earlier clip's record, into a clip and a file."""

from __future__ import annotations

import hashlib
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from soundforge.audio import Waveform, read
from soundforge.cli.output import INTERRUPTED, busy, errors, usage_error
from soundforge.clip import Clip
from soundforge.errors import AudioError, LibraryError
from soundforge.processing import decoder_call, model_options
from soundforge.requests import CancelToken, GenerateRequest, SamplingParams

if TYPE_CHECKING:
    from soundforge.api import Engine

SOUND_FILES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus", ".w64", ".caf")
MIDI_FILES = (".mid", ".midi")


@dataclass(frozen=True)
class Order:
    """One clip to be rendered.

    Args:
        model: name of the checkpoint.
        keywords: for `engine.generate` or `engine.extend`; what is not given comes from the model's defaults.
        text: description.
        prompt: audio to continue, or None.
        request: instead of keywords and text, a whole request that was recorded.
    """

    model: str
    keywords: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    prompt: Waveform | None = None
    request: GenerateRequest | None = None

    @staticmethod
    def from_options(*, text: str | None, seconds: float | None, bars: float | None, bpm: float | None,
                     beats_per_bar: int, model: str, continued: Path | None, only_new: bool, melody: Path | None,
                     style: Path | None, condition: Sequence[str], decoder: str | None, option: str | None,
                     process: Sequence[str], seed: int | None, crossfade_ms: float,
                     sampling: Mapping[str, Any]) -> Order:
        """The order that the options describe.

        Raises:
            InputError: values out of range, files that are no audio.
            typer.BadParameter: options that contradict each other.
        """
        if text is None and continued is None and melody is None and style is None and not condition:
            usage_error("TEXT is missing; say what it should sound like, for example "
                        "soundforge render \"warm lo-fi drums, 90 bpm\" -o out.wav")
        if seconds is not None and bars is not None:
            usage_error("--seconds and --bars were both given; choose one")
        if seconds is not None and not seconds > 0:
            usage_error(f"--seconds came as {seconds:g}, expected more than 0")
        if only_new and continued is None:
            usage_error("--only-new goes with --continue FILE")
        prompt = read_sound(continued, "--continue") if continued is not None else None
        if bpm is None and continued is not None:
            bpm = tempo_of(continued)
        if bars is not None and bpm is None:
            usage_error("--bars was given without a tempo; add --bpm 120, or give --seconds instead")
        conditions, files = read_conditions(melody, style, condition)
        if continued is not None:
            files["continue"] = str(continued.resolve())
        keywords: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
        # Checked here, before the model is loaded, so that a slip of the finger is told at once.
        GenerateRequest(text=text, seconds=seconds, bars=bars, bpm=bpm, beats_per_bar=beats_per_bar, seed=seed,
                        processors=tuple(process), crossfade_ms=crossfade_ms, sampling=SamplingParams(**keywords))
        name, options = decoder_call(decoder)
        optional = {"seconds": seconds, "bars": bars, "bpm": bpm, "seed": seed, "decoder": name,
                    "decoder_options": options, "options": model_options(option) if option else None}
        keywords |= {name: value for name, value in optional.items() if value is not None}
        if process:
            keywords["processors"] = tuple(process)
        keywords |= {"beats_per_bar": beats_per_bar, "conditions": conditions, "crossfade_ms": crossfade_ms,
                     "tags": {"files": files} if files else {}}
        if Path(model).is_dir():
            # A clip carries its model's name; a folder is found again by where it lay.
            keywords["tags"] = {**keywords["tags"], "model_folder": str(Path(model).resolve())}
        if prompt is not None:
            keywords |= {"splice": True, "only_new": only_new}
        if bars is not None and (prompt is None or only_new):
            keywords["loop"] = True
        return Order(model, keywords, text, prompt)


def order_again(file: Path, *, model: str | None, melody: Path | None, style: Path | None, continued: Path | None,
                condition: Sequence[str]) -> Order:
    """The order that made the clip in `file`.

    Audio that the request used is taken from the options, else from where it lay then; its hash must agree.

    Raises:
        AudioError: no clip of ours, or audio that is gone or has changed since.
    """
    from soundforge.wav import read_clip

    clip = read_clip(file)
    request = clip.request
    if not clip.model:
        raise AudioError(f"{str(file)!r} carries no request; expected a WAV that `soundforge render` wrote")
    if request.noise is not None:
        raise AudioError(f"{str(file)!r} was made from noise that the caller gave and no file holds; "
                         "only Python can make it again")
    given, _ = read_conditions(melody, style, condition)
    files = dict(request.tags.get("files", {}))
    conditions = {name: _same_audio(name, value, given.get(name), files.get(name))
                  for name, value in request.conditions.items()}
    prompt = None
    if "prompt" in clip.info and "continue" in files:
        prompt = _same_audio("continue", clip.info["prompt"],
                             read_sound(continued, "--continue") if continued else None, files.get("continue"))
    elif "prompt" in clip.info:
        raise AudioError(f"{str(file)!r} continues audio that was captured or made in Python; "
                         "only what `soundforge render` made can be rendered again")
    name = model or str(request.tags.get("model_folder", clip.model))
    return Order(name, prompt=prompt, request=replace(request, seed=clip.seed, conditions=conditions))


def _same_audio(name: str, recorded: Any, given: Any, path: str | None) -> Any:
    """The value of a condition as it was: text from the record, audio and MIDI from a file whose hash agrees."""
    if isinstance(recorded, Mapping) and "file_sha256" in recorded:
        return _same_file(name, recorded, given if isinstance(given, Path) else Path(path or recorded["file"]))
    wanted = recorded.get("audio_sha256") if isinstance(recorded, Mapping) else None
    if wanted is None:
        return recorded
    option = f"--{name}" if name in ("continue", "style") else "--melody" if name in ("chroma", "melody") else \
        f"--condition {name}="
    if given is None and path is not None and Path(path).is_file():
        given = read(path)
    if not isinstance(given, Waveform):
        raise AudioError(f"the clip was made with audio for {name!r} from {path or 'memory'!r}, which is not there; "
                         f"give it with {option} FILE")
    if hashlib.sha256(given.samples.tobytes()).hexdigest() != wanted:
        raise AudioError(f"the audio for {name!r} is not the one that the clip was made with (another hash); "
                         f"give the original with {option} FILE")
    return given


def _same_file(name: str, recorded: Mapping[str, Any], path: Path) -> Path:
    if not path.is_file():
        raise AudioError(f"the clip was made with {str(path)!r} as {name!r}, which is not there; give it with "
                         f"--condition {name}=FILE")
    if hashlib.sha256(path.read_bytes()).hexdigest() != recorded["file_sha256"]:
        raise AudioError(f"{str(path)!r} is not the file that the clip was made with as {name!r} (another hash); give "
                         f"the original with --condition {name}=FILE")
    return path


def read_sound(path: Path, option: str) -> Waveform:
    """A sound file named by an option; the error names the option."""
    try:
        return read(path)
    except AudioError as error:
        if not path.exists():
            raise AudioError(f"{option} came as {str(path)!r}, which does not exist; give a sound file") from error
        raise AudioError(f"{option}: {error}") from error


def tempo_of(path: Path) -> float | None:
    """The tempo that a WAV carries, None for other files."""
    from soundforge.wav import read_info

    try:
        return read_info(path, with_record=False).bpm
    except AudioError:
        return None  # FLAC and others carry none that we read


def read_conditions(melody: Path | None, style: Path | None,
                    condition: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Conditions by name, and the files that they came from."""
    values: dict[str, Any] = {}
    files: dict[str, str] = {}
    for name, path, option in (("chroma", melody, "--melody"), ("style", style, "--style")):
        if path is not None:
            values[name] = read_sound(path, option)
            files[name] = str(path.resolve())
    for item in condition:
        name, equals, value = item.partition("=")
        if not equals or not name:
            usage_error(f"--condition came as {item!r}, expected NAME=VALUE")
        if value.lower().endswith(SOUND_FILES):
            values[name] = read_sound(Path(value).expanduser(), f"--condition {name}")
            files[name] = str(Path(value).expanduser().resolve())
        elif value.lower().endswith(MIDI_FILES):
            # A path, which only a program's own user can give, says "read it as MIDI" to a condition that takes it.
            values[name] = Path(value).expanduser()
            files[name] = str(Path(value).expanduser().resolve())
        else:
            values[name] = value
    return values, files


def check_output(output: Path, bits: int) -> None:
    """Refuse a file that cannot be written before minutes are spent on its sound."""
    if output.suffix.lower() != ".wav":
        usage_error(f"--output came as {str(output)!r}, expected a name that ends in .wav")
    if output.is_dir():
        usage_error(f"--output came as {str(output)!r}, which is a folder; name a file")
    if bits not in (16, 24, 32):
        usage_error(f"--bits came as {bits}, expected 32 (float), 24 or 16")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise LibraryError(f"cannot write to {str(output.parent)!r} ({error.strerror or error}); "
                           "choose another folder with -o") from error


def run(order: Order, output: Path, *, bits: int, device: str, quantize: str | None, plugins_dir: Path | None,
        no_plugin: tuple[str, ...]) -> None:
    """Load the model, generate with a progress bar, write the file and say what was made."""
    import soundforge as sf

    with busy(f"loading {order.model}"):
        engine = sf.load(order.model, device=device, quantize=quantize, plugins_dir=plugins_dir, no_plugin=no_plugin)
    with engine:
        order = _melody_for(engine, order)
        began = time.perf_counter()
        clip = generate(engine, order)
        computing = time.perf_counter() - began
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        clip.save(output, bits=bits)
    for warning in said:
        errors.print(f"note: {warning.message}", style="yellow", markup=False)
    new_seconds = clip.seconds - clip.prompt_samples / clip.sample_rate
    typer.echo(f"{output}: {clip.seconds:.2f} s, {clip.sample_rate} Hz, {clip.channels} ch, seed {clip.seed}")
    typer.echo(f"{new_seconds:.2f} s of new audio in {computing:.2f} s: "
               f"real-time factor {new_seconds / max(computing, 1e-9):.2f}")


def _melody_for(engine: Engine, order: Order) -> Order:
    """`--melody` is chroma, or melody for a model that has a slot for that and none for chroma."""
    names = {slot.name for slot in engine.slots}
    conditions = dict(order.keywords.get("conditions", {}))
    if "chroma" not in conditions or "chroma" in names or "melody" not in names or "melody" in conditions:
        return order
    conditions["melody"] = conditions.pop("chroma")
    tags = dict(order.keywords.get("tags", {}))
    files = dict(tags.get("files", {}))
    if "chroma" in files:  # so that --again finds it under the name that the request has
        tags["files"] = {**{name: path for name, path in files.items() if name != "chroma"}, "melody": files["chroma"]}
    return replace(order, keywords={**order.keywords, "conditions": conditions, "tags": tags})


def generate(engine: Engine, order: Order) -> Clip:
    """The clip, with a progress bar on standard error; Ctrl-C cancels within one step."""
    cancel = CancelToken()
    columns = (TextColumn("generating"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
               TextColumn("{task.fields[speed]}"), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("generate", total=None, speed="")

        def progress(done: int, total: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            speed = f"{done / engine.frame_rate_hz / elapsed:.2f} x real time" if elapsed > 0.2 else ""
            bar.update(task, completed=done, total=total, speed=speed)

        prompt = order.prompt
        try:
            if order.request is not None:
                made = None if prompt is None else engine.make_prompt(prompt)
                return engine.run([order.request], made, progress, cancel)[0]
            if prompt is None:
                return engine.generate(order.text, progress=progress, cancel=cancel, **order.keywords)
            return engine.extend(prompt, order.text, progress=progress, cancel=cancel, **order.keywords)
        except KeyboardInterrupt:
            cancel.cancel()
            errors.print("soundforge: interrupted; nothing was written")
            raise typer.Exit(INTERRUPTED) from None
