import jax
import jax.numpy as jnp
import pytest

from gemma_tool_use.models import precision
from gemma_tool_use.models.precision import compute_dtype, has_bfloat16_unit


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu amx_bf16 avx512_bf16 amx_tile", jnp.bfloat16),
        ("flags : fpu avx512_bf16", jnp.float32),
        (None, jnp.float32),
    ],
)
def test_auto_on_a_cpu_is_bfloat16_where_it_has_a_matrix_unit_for_it(tmp_path, monkeypatch, flags, expected):
    file = tmp_path / "cpuinfo"
    if flags is not None:
        file.write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(precision, "_CPU_FLAGS", file)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert compute_dtype("auto") == expected
    assert has_bfloat16_unit() == (expected == jnp.bfloat16)


def test_a_dtype_that_was_chosen_is_taken_and_auto_on_an_accelerator_is_bfloat16(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "_CPU_FLAGS", tmp_path / "none")
    assert compute_dtype("float32") == jnp.float32
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert compute_dtype("auto") == jnp.bfloat16
