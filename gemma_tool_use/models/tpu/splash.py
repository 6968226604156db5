"""JAX's splash attention on packed rows, and the same kernel as a softmax over the vocabulary.

    out = splash_attention(q, k, v, segment_ids, window=512, softcap=None)         # [rows, length, heads, head size]
    log_normalizer, expected = vocabulary_softmax(hidden, table)                    # [positions], [positions, width]

Logits of either kind stay in the chip's fast memory: of a row of 1,024 tokens they would take 16 MB in every layer, of
512 positions and 262,144 tokens 0.5 GB.
"""

from typing import Any

import jax
from jax.experimental.pallas.ops.tpu import splash_attention as splash

from gemma_tool_use.models.remat import ATTENTION
from gemma_tool_use.models.tpu.heads import merge_heads

# Tokens of a block of queries and of keys. Blocks that no query may see are skipped; smaller ones skip more, but leave
# the matrix unit less to do than one step of the grid costs.
_BLOCKS = (512, 256, 128)
# Tokens of the vocabulary that lie in fast memory at once, as keys and again as values, each twice (the next block is
# on its way): at most this many bytes per copy.
_TABLE_BLOCK_BYTES = 1_500_000


def splash_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segment_ids: jax.Array,
    *,
    window: int | None,
    softcap: float | None,
    interpret: bool = False,
) -> jax.Array:
    """Causal attention within segments and within `window`, as `models.attention.attention`.

    Args:
      q: [rows, length, heads, head size], scaled; length is a multiple of 128.
      k: [rows, length, key/value heads, head size].
      v: as `k`.
      segment_ids: int32 [rows, length].
      window: how many tokens one sees, itself included; None for all.
      softcap: c, where scores become c * tanh(score / c); None for none.
      interpret: run the kernel in Python, on a CPU.

    Returns:
      [rows, length, heads, head size].
    """
    rows, length, heads, size = q.shape
    groups = k.shape[2]
    block = attention_block(length)
    shape = (length, length)
    mask = splash.CausalMask(shape) if window is None else splash.LocalMask(shape, (window - 1, 0), 0)
    kernel: Any = splash.make_splash_mqa_single_device(
        splash.MultiHeadMask([mask] * (heads // groups)),
        block_sizes=splash.BlockSizes(
            block_q=block,
            block_kv=block,
            block_q_dkv=block,
            block_kv_dkv=block,
            block_kv_dkv_compute=block,
            use_fused_bwd_kernel=True,
        ),
        attn_logits_soft_cap=softcap,
        residual_checkpoint_name=ATTENTION,
        interpret=interpret,
    )

    def one_row(q: jax.Array, k: jax.Array, v: jax.Array, ids: jax.Array) -> jax.Array:
        return jax.vmap(lambda q, k, v: kernel(q, k, v, splash.SegmentIds(ids, ids)))(q, k, v)

    q = q.reshape(rows, length, groups, heads // groups, size).transpose(0, 2, 3, 1, 4)
    out: Any = jax.vmap(one_row)(q, k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3), segment_ids)
    merged: Any = merge_heads(out.reshape(rows, heads, length, size), interpret)
    return merged.reshape(rows, length, heads, size)


def attention_block(length: int) -> int:
    """Tokens per block of a row of `length`, a multiple of 128."""
    return next(block for block in _BLOCKS if length % block == 0)


def vocabulary_softmax(hidden: jax.Array, table: jax.Array, *, interpret: bool = False) -> tuple[jax.Array, jax.Array]:
    """What the cross-entropy needs of logits = hidden @ table.T, in one pass over the table.

    Attention in which a hidden state is the query and the table both keys and values: the output is softmax(logits) @
    table, the embedding expected of the next token.

    Args:
      hidden: [positions, width]; both are multiples of 128.
      table: [vocabulary, width]; the vocabulary is a multiple of 128.
      interpret: run the kernel in Python, on a CPU.

    Returns:
      float32 logsumexp of the logits [positions], and the expected embedding [positions, width] in the dtype of
      `hidden`.
    """
    positions, vocabulary = hidden.shape[0], table.shape[0]
    block = table_block(table)
    kernel = splash.make_splash_mqa_single_device(
        splash.MultiHeadMask([splash.FullMask((positions, vocabulary))]),
        block_sizes=splash.BlockSizes(block_q=positions, block_kv=block, block_kv_compute=min(block, 512)),
        save_residuals=True,
        interpret=interpret,
    )
    expected, (log_normalizer,) = kernel(hidden[None], table, table)
    return log_normalizer[0], expected[0]


def table_block(table: jax.Array) -> int:
    """Tokens of the vocabulary per block: 128 times a power of two that divides the vocabulary."""
    vocabulary, width = table.shape
    block = 128
    while vocabulary % (2 * block) == 0 and 2 * block * width * table.dtype.itemsize <= _TABLE_BLOCK_BYTES:
        block *= 2
    return block
