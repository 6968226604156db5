"""Greedy replies, token for token those of transformers: of a tiny model, and of the real one to questions of BFCL."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_model import write_tiny_model

from gemma_tool_use.bfcl_files import INSTALL
from gemma_tool_use.errors import GemmaToolUseError
from gemma_tool_use.evaluation.bfcl.suite import BfclSuite
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.formats.encode import encode
from gemma_tool_use.formats.tokenizer import Tokenizer, load_tokenizer
from gemma_tool_use.inference.replies import stop_ids
from gemma_tool_use.inference.sampler import Sampler, SamplingConfig
from gemma_tool_use.models.load import load_base
from gemma_tool_use.models.model_folder import save_model_folder
from gemma_tool_use.models.resolve import LocalCheckpoint, resolve

torch = pytest.importorskip(
    "torch", reason="install a CPU build of torch beside the project for the comparison, as .ci/run does"
)
transformers = pytest.importorskip("transformers", reason="run `pip install transformers` for the comparison")

pytestmark = pytest.mark.interop

DIALECT = get_dialect("gemma_json_compact")
PROMPTS, NEW_TOKENS = 50, 24


def prompts(tokenizer: Tokenizer) -> list[list[int]]:
    try:
        items = BfclSuite(categories=("simple_python",), limit=PROMPTS).items()
    except GemmaToolUseError:
        pytest.skip(f"the questions are not installed: {INSTALL}")
    return [encode(DIALECT.prompt(item.conversation), tokenizer).tokens.tolist() for item in items]


def check(folder: Path, local: LocalCheckpoint, asked: list[list[int]], stops: list[int], new_tokens: int) -> None:
    """Our greedy replies, in batches with refilled rows, against theirs, one prompt at a time."""
    model = load_base(local, dtype=jnp.float32)
    save_model_folder(folder, model, source=local)
    config = SamplingConfig(max_new_tokens=new_tokens, batch_size=16)
    ours = Sampler(model).generate(asked, stop_ids=stops, pad_id=0, config=config)
    theirs: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for number, (prompt, reply) in enumerate(zip(asked, ours, strict=True)):
        with torch.inference_mode():
            whole = theirs.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                do_sample=False,
                max_new_tokens=new_tokens,
                eos_token_id=stops,
                pad_token_id=0,
            )
        new = whole[0, len(prompt) :].tolist()
        assert reply == (new[:-1] if new[-1] in stops else new), number


def test_greedy_replies_of_a_tiny_model_beyond_its_window(tmp_path: Path):
    rng = np.random.default_rng(0)
    asked = [[2, *rng.integers(3, 500, length).tolist()] for length in rng.integers(0, 60, 50)]
    check(tmp_path / "theirs", resolve(str(write_tiny_model(tmp_path / "ours"))), asked, [1], 30)


@pytest.mark.real_weights
def test_greedy_replies_to_questions_of_bfcl(tmp_path: Path):
    local = resolve("embedded:gemma-3-270m")
    tokenizer = load_tokenizer(local.require_tokenizer())
    asked = prompts(tokenizer)
    assert len(asked) == PROMPTS
    check(tmp_path / "model", local, asked, stop_ids(DIALECT, tokenizer), NEW_TOKENS)
