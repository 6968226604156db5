"""Qwix LoRA on a Tunix model.

    model = attach_lora(base, LoraSpec(rank=16, alpha=16.0), seed=0)
    # model.layers[0].attn.q_einsum.w_lora_a is an nnx.LoRAParam [640, 16]; the base weights are shared, not copied

Qwix reads a module path like `layers/0/attn/q_einsum` and adds `x @ a @ b * alpha / rank` to that module's product;
`a` starts random, `b` zero, so a fresh adapter changes nothing.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import qwix
from flax import nnx

from gemma_tool_use.errors import ConfigError, suggest
from gemma_tool_use.models.lora_spec import LoraSpec
from gemma_tool_use.models.quantize import dense_tree
from gemma_tool_use.models.sharding import place


class OneKey(nnx.Rngs):
    """The same key for every array, where only the shapes of a module are wanted.

    Counting draws while a model is traced made JAX walk the whole trace at each of them: attaching took 8.2 s of one
    core for Gemma 3 270M that way, 1.5 s without.
    """

    def params(self) -> jax.Array:
        return jax.random.key(0)


def attach_lora(model: Any, spec: LoraSpec, *, seed: int, mesh: jax.sharding.Mesh | None = None) -> Any:
    """A model that shares the base arrays of `model` and carries fresh float32 LoRA parameters.

    Args:
      model: a Tunix model with its weights and its `spec`.
      spec: rank, alpha and module patterns.
      seed: seed of the `a` arrays.
      mesh: places the new arrays beside the base weights, by the sharding that Qwix derives from them.

    Raises:
      ConfigError: a pattern matches no module that Qwix can attach to.
    """
    spec = spec.resolved(model.spec.family.lora_modules)
    provider = qwix.LoraProvider(module_path=spec.module_path, rank=spec.rank, alpha=spec.alpha)
    graphdef, base = nnx.split(model)

    def build(base: nnx.State) -> Any:
        merged: Any = nnx.merge(graphdef, dense_tree(base))  # Qwix would not know the packed weights of its own kind
        return qwix.apply_lora_to_model(merged, provider, rngs=OneKey(0), **merged.get_model_input())

    # Qwix learns names and shapes by running the model once, and fills the arrays on the way. Run eagerly that compiles
    # every operation of the model on its own (5 s), jitted it compiles 108 random generators (10 s). So Qwix runs
    # abstractly and its own initialisers fill the shapes it found.
    abstract = nnx.eval_shape(build, base)
    new_graphdef, abstract_lora, _ = nnx.split(abstract, nnx.LoRAParam, ...)
    _check_patterns(spec.modules, model, [path for path, _ in abstract_lora.flat_state()])
    lora = _initialise(abstract_lora, seed)
    if mesh is not None:
        lora = jax.tree.map(place, lora, nnx.get_named_sharding(lora, mesh))
    adapted: Any = nnx.merge(new_graphdef, lora, base)
    adapted.lora_scale = spec.alpha / spec.rank  # Qwix keeps it in the code it wraps around the products
    return adapted


def cast_lora(lora: nnx.State, dtype: Any) -> nnx.State:
    """LoRA parameters in the compute dtype; the float32 ones stay the master copy that the optimizer updates."""
    return jax.tree.map(lambda x: x.astype(dtype), lora)


def without_lora(model: Any) -> None:
    """Removes the LoRA parameters of a model, in place: its projections are those of the base weights."""
    for _, module in list(nnx.iter_modules(model)):
        for name in [name for name, value in vars(module).items() if isinstance(value, nnx.LoRAParam)]:
            delattr(module, name)


def _initialise(abstract_lora: nnx.State, seed: int) -> nnx.State:
    """Float32 arrays for the shapes Qwix found: `a` from Qwix's default initialiser, `b` from its own (zeros)."""
    initialisers = {
        "a": jax.jit(qwix.LoraRule.lora_a_initializer, static_argnums=(1, 2)),
        "b": jax.jit(qwix.LoraRule.lora_b_initializer, static_argnums=(1, 2)),
    }
    filled = []
    for index, (path, variable) in enumerate(abstract_lora.flat_state()):
        key = jax.random.fold_in(jax.random.key(seed), index)
        value = initialisers[str(path[-1])[-1]](key, variable.get_value().shape, jnp.float32)
        filled.append((path, variable.replace(value)))
    return nnx.State.from_flat_path(filled)


def _check_patterns(patterns: Sequence[str], model: nnx.Module, lora_paths: Sequence[tuple[Any, ...]]) -> None:
    """Raises ConfigError for every pattern that attached nothing, with the module names that exist."""
    attached = {"/".join(map(str, path[:-1])) for path in lora_paths}
    names = {str(path[-1]) for path, module in nnx.iter_modules(model) if path and _has_weight(module)}
    idle = [p for p in patterns if not any(re.fullmatch(f".*(?:{p})", path) for path in attached)]
    if idle:
        hints = " ".join(f"{pattern!r}: {suggest(pattern, names)}" for pattern in idle)
        raise ConfigError(f"module pattern matches nothing that LoRA can attach to. {hints}")


def _has_weight(module: nnx.Module) -> bool:
    return any(isinstance(value, nnx.Param) and getattr(value, "ndim", 0) >= 2 for value in vars(module).values())
