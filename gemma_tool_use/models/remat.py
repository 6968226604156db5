"""What the forward pass keeps for the backward pass, and what that computes again.

    layer = rematerialised(layer, "projections")                 # a function of x, and one that keeps less
    choose_remat(GEMMA3_270M, tokens=8192, itemsize=2, room=4 * 10**9)      # "none"

"none" keeps every intermediate result. "projections" keeps the input of each layer and what its attention and its MLP
gave, the dear parts, and computes the projections, norms and rotations again: a fifth more arithmetic in Gemma 3 270M.
"layers" keeps the inputs of the layers alone and computes all of it again, a third more.
"""

from collections.abc import Callable
from typing import Literal

import jax
from jax.ad_checkpoint import checkpoint_name

from gemma_tool_use.models.spec import ModelSpec

Remat = Literal["none", "projections", "layers"]
REMATS: tuple[Remat, ...] = ("none", "projections", "layers")

ATTENTION, MLP = "attention", "mlp"
"""Names of the results that "projections" keeps."""


def kept(x: jax.Array, name: str) -> jax.Array:
    """Marks a result as one of those that "projections" keeps."""
    return checkpoint_name(x, name)


def rematerialised(layer: Callable[..., jax.Array], remat: Remat) -> Callable[..., jax.Array]:
    """The layer with another backward pass: same numbers."""
    if remat == "none":
        return layer
    policy = jax.checkpoint_policies.save_only_these_names(ATTENTION, MLP) if remat == "projections" else None
    return jax.checkpoint(layer, policy=policy)


def kept_bytes(spec: ModelSpec, *, tokens: int, itemsize: int, remat: Remat) -> int:
    """What the backward pass finds in memory, estimated: of every layer, for the tokens of one device.

    Without rematerialisation per token: six vectors of the width, those of heads as projected, as rotated, and
    attended, and four of the MLP's hidden width.
    """
    width, heads = spec.embed_dim, spec.num_heads * spec.head_dim
    pairs = 2 * spec.num_kv_heads * spec.head_dim
    values = {
        "none": 6 * width + 3 * heads + 2 * pairs + 4 * spec.hidden_dim,
        "projections": 2 * width + heads,
        "layers": width,
    }[remat]
    return spec.num_layers * tokens * values * itemsize


def choose_remat(spec: ModelSpec, *, tokens: int, itemsize: int, room: int | None) -> Remat:
    """The one with the least arithmetic whose kept results fit.

    Args:
      spec: sizes of the model.
      tokens: of one micro-batch on one device.
      itemsize: bytes per value of the compute dtype.
      room: bytes of a device that are left for it; None where that is not known: then nothing is computed again.
    """
    if room is None:
        return "none"
    for remat in REMATS:
        if kept_bytes(spec, tokens=tokens, itemsize=itemsize, remat=remat) <= room:
            return remat
    return "layers"
