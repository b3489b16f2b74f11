"""`soundforge render`: one clip offline, from text, from audio, or from the record of an earlier clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundforge.cli.output import DeviceOption, ModelOption, NoPluginOption, PluginsDirOption

Quantize = Annotated[str | None, typer.Option("--quantize", metavar="int8|int4", help="Smaller, faster weights.")]
AudioFile = Path


def render(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The WAV to write.")],
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What it should sound like.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length of NEW audio in seconds (8).")] = None,
    bars: Annotated[float | None, typer.Option(
        help="Length of new audio in bars; needs a tempo. It loops without a seam.")] = None,
    bpm: Annotated[float | None, typer.Option(help="Tempo in beats per minute.")] = None,
    beats_per_bar: Annotated[int, typer.Option(help="Beats in a bar.")] = 4,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    quantize: Quantize = None,
    continue_: Annotated[AudioFile | None, typer.Option("--continue", metavar="FILE",
                                                        help="Go on from the end of this audio.")] = None,
    only_new: Annotated[bool, typer.Option("--only-new", help="Leave the continued audio out of the file.")] = False,
    melody: Annotated[AudioFile | None, typer.Option(metavar="FILE", help="Follow the melody of this audio.")] = None,
    style: Annotated[AudioFile | None, typer.Option(metavar="FILE", help="Take the style of this audio.")] = None,
    condition: Annotated[list[str] | None, typer.Option(
        "--condition", metavar="NAME=VALUE", help="Any condition: text, or a sound file; may be repeated.")] = None,
    decoder: Annotated[str | None, typer.Option(metavar="NAME[:k=v,...]",
                                                help="Another decoder than the codec's own.")] = None,
    option: Annotated[str | None, typer.Option(
        metavar="KEY=VALUE,...", help="The model's own options, such as solver=euler,steps=20.")] = None,
    process: Annotated[list[str] | None, typer.Option(
        "--process", metavar="NAME[:k=v,...]", help="A clip processor for the result; may be repeated.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same clip; random without one.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 = always the likeliest.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest; 0 = off.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest with this share; 0 = off.")] = None,
    cfg: Annotated[float | None, typer.Option(help="Weight of the text and conditions; 1 = no guidance.")] = None,
    crossfade_ms: Annotated[float, typer.Option(help="Crossfade where a continuation begins.")] = 10.0,
    bits: Annotated[int, typer.Option(help="32 (float), 24 or 16.")] = 32,
    again: Annotated[AudioFile | None, typer.Option(metavar="FILE",
                                                    help="Make the clip in this file once more, bit for bit.")] = None,
    plugins_dir: PluginsDirOption = None,
    no_plugin: NoPluginOption = None,
) -> None:
    """Render one clip offline and write it as a WAV that carries its tempo and request."""
    from soundforge.cli.rendering import Order, check_output, order_again, run

    check_output(output, bits)
    if again is not None:
        order = order_again(again, model=model, melody=melody, style=style, continued=continue_,
                            condition=condition or [])
    else:
        order = Order.from_options(
            text=text, seconds=seconds, bars=bars, bpm=bpm, beats_per_bar=beats_per_bar, model=model or "starter",
            continued=continue_, only_new=only_new, melody=melody, style=style, condition=condition or [],
            decoder=decoder, option=option, process=process or [], seed=seed, crossfade_ms=crossfade_ms,
            sampling={"temperature": temperature, "top_k": top_k, "top_p": top_p, "cfg": cfg})
    run(order, output, bits=bits, device=device, quantize=quantize, plugins_dir=plugins_dir,
        no_plugin=tuple(no_plugin or ()))
