"""What sound is like, as the starter's style condition has it, taken from its codes."""

from __future__ import annotations

from torch import Tensor

from soundforge.interfaces import Codec, ConditionContext
from soundforge.nn import starter_conditions as features


def style_of(codec: Codec, codes: Tensor) -> Tensor:
    """Style features `[1, W]` of codes `[1, K, n]`: their first three seconds, repeated where there are less."""
    codes = codes.repeat(1, 1, -(-features.STYLE_FRAMES // codes.shape[2]))[:, :, : features.STYLE_FRAMES]
    return features.style_summary(codec.decode_latent(codes).transpose(1, 2))


def style_of_prompt(codec: Codec, context: ConditionContext) -> Tensor | None:
    """Style features `[1, W]` of the prompt's last three seconds; None without a prompt, or one of a fifth second."""
    codes = context.prompt_codes
    if codes is None or codes.shape[-1] < features.STYLE_SHORTEST:
        return None
    return style_of(codec, codes[None, :, -features.STYLE_FRAMES :])
