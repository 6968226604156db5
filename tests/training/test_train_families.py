"""The train command on tiny models of other families, with their tokenizers, turn tags and projections."""

import json

import pytest
from tiny_byte_level import write_tiny_llama3_tokenizer, write_tiny_qwen_tokenizer
from tiny_families import TINY, write_family

import gemma_tool_use.training.train_gemma3_270m_tool_calling as command
from gemma_tool_use.commands import EXIT_OK, run
from gemma_tool_use.models.adapter import read_adapter

SETTINGS = (
    "--source synthetic --synthetic-rows 12 --synthetic-kinds one_call:1 --max-length 900 --packed-length 900 "
    "--max-steps 3 --rank 2 --batch-size 1 --learning-rate 0.02 --warmup-share 0 --schedule constant --eval-share 0 "
    "--compare-requests 1"
)


@pytest.mark.parametrize(
    ("family", "write_tokenizer", "dialect"),
    [
        ("qwen3", write_tiny_qwen_tokenizer, "qwen3"),
        ("llama3", write_tiny_llama3_tokenizer, "gemma_json_compact"),
    ],
)
def test_a_family_is_trained_with_its_own_tokenizer_and_answers(family, write_tokenizer, dialect, tmp_path):
    model = write_tokenizer(write_family(tmp_path / "model", TINY[family]))
    where = ["--model", str(model), "--output-dir", str(tmp_path / "run"), "--dialect", dialect, "--report-to"]
    assert run(command.main, [*where, *SETTINGS.split()]) == EXIT_OK
    manifest = json.loads((tmp_path / "run" / "adapter.json").read_text())
    assert manifest["dialect"] == dialect
    assert manifest["modules"] == list(TINY[family].family.lora_modules)
    arrays = read_adapter(tmp_path / "run")[1]
    assert len(arrays) == 2 * 7 * TINY[family].num_layers
    assert all(array.any() for name, array in arrays.items() if name.endswith("lora_b"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert (tmp_path / "run" / "samples.jsonl").is_file()
