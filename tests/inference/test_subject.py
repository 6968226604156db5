"""What --model, --adapter and --run mean, and a writer over a scripted sampler."""

import json

import numpy as np
import pytest
from tiny_tokenizer import tiny_tokenizer

from gemma_tool_use.errors import CheckpointError, ConfigError
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.inference.replies import end_by_text, stop_ids
from gemma_tool_use.inference.sampler import Generated
from gemma_tool_use.inference.sampling import SamplingConfig
from gemma_tool_use.inference.subject import Chosen, arrays_sha256, choose
from gemma_tool_use.inference.writing import Writer
from gemma_tool_use.models.lora_spec import LoraSpec

MANIFEST = {
    "rank": 2,
    "alpha": 2.0,
    "modules": ["q_einsum"],
    "arrays": {},
    "dialect": "hermes",
    "base": {"source": "embedded:gemma-3-270m", "sha256": "ab"},
}


def write_run(folder, manifest=None, config=None):
    folder.mkdir(exist_ok=True)
    if manifest is not None:
        (folder / "adapter.json").write_text(json.dumps(manifest))
    if config is not None:
        (folder / "run.json").write_text(json.dumps({"config": config}))
    return folder


def test_an_adapter_names_its_base_weights_and_its_dialect(tmp_path):
    folder = write_run(tmp_path, MANIFEST)
    expected = Chosen(model="embedded:gemma-3-270m", adapter=folder, dialect="hermes", base_sha256="ab")
    assert choose(adapter=folder) == choose(run=folder) == expected
    assert choose(adapter=folder, model="other").model == "other"


def test_a_run_says_how_its_base_was_packed(tmp_path):
    folder = write_run(tmp_path, MANIFEST, {"method": "qlora", "quantization": None})
    assert choose(run=folder).quantization == "nf4"
    write_run(tmp_path, config={"method": "qlora", "quantization": "int8"})
    assert choose(run=folder).quantization == "int8"
    write_run(tmp_path, config={"method": "lora", "quantization": None})
    assert choose(run=folder).quantization is None


def test_a_run_that_trained_every_weight_is_its_model_folder(tmp_path):
    folder = write_run(tmp_path, config={"method": "full", "dialect": "hermes"})
    with pytest.raises(ConfigError, match="its training has not come to an end"):
        choose(run=folder)
    (folder / "model").mkdir()
    assert choose(run=folder) == Chosen(model=str(folder / "model"), dialect="hermes")
    with pytest.raises(ConfigError, match="has all weights"):
        choose(run=folder, model="m")


def test_what_cannot_be_chosen_is_told(tmp_path):
    with pytest.raises(ConfigError, match="--model, --adapter or --run"):
        choose()
    with pytest.raises(ConfigError, match="both name an adapter"):
        choose(adapter=tmp_path, run=tmp_path)
    with pytest.raises(CheckpointError, match=r"has no adapter\.json"):
        choose(adapter=tmp_path)
    with pytest.raises(CheckpointError, match="does not name its base weights"):
        choose(adapter=write_run(tmp_path, MANIFEST | {"base": None}))
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"run\.json cannot be read"):
        choose(adapter=tmp_path)


def test_the_hash_of_an_adapter_changes_with_any_value_name_or_scale():
    one = {"a": np.zeros(3, np.float32), "b": np.ones(2, np.float32)}
    specs = [LoraSpec(rank=2, alpha=2.0), LoraSpec(rank=2, alpha=4.0)]
    others = [one | {"a": np.array([0, 0, 1e-9], np.float32)}, {"c": one["a"], "b": one["b"]}]
    hashes = {arrays_sha256(spec, arrays) for spec in specs for arrays in (one, *others)}
    assert len(hashes) == 6
    assert arrays_sha256(specs[0], dict(reversed(one.items()))) in hashes


class Scripted:
    """Hands over an error for the first prompt and text for the others, and remembers what it was asked."""

    def generate_rows(self, prompts, *, on_finish, wanted, **asked):
        self.asked = asked
        for number in wanted:
            on_finish(number, Generated(error="too long") if number == 0 else Generated(tokens=[5, 6]))


def test_a_writer_hands_over_texts_and_errors_and_the_time_between():
    sampler, tokenizer, written = Scripted(), tiny_tokenizer(), {}
    config = SamplingConfig(max_new_tokens=3)
    dialect = get_dialect("gemma_json")
    writer = Writer(sampler, tokenizer, dialect, config, adapter=False)  # pyright: ignore[reportArgumentType]
    writer([[2], [2], [2]], {0, 2}, written.__setitem__)
    assert written.keys() == {0, 2}
    assert (written[0].text, written[0].error) == ("", "too long")
    assert (written[2].text, written[2].new_tokens) == (tokenizer.decode([5, 6]), 2)
    assert written[2].seconds >= 0
    assert sampler.asked == {
        "stop_ids": stop_ids(dialect, tokenizer),
        "pad_id": tokenizer.pad_id,
        "config": config,
        "adapter": False,
        "end_of": None,
    }


def test_a_stop_text_of_several_tokens_ends_a_reply_at_its_last_token():
    tokenizer = tiny_tokenizer()
    end_of = end_by_text(get_dialect("hermes"), tokenizer)
    assert end_of is not None
    ended, more = tokenizer.encode("Hi!<|im_end|>"), tokenizer.encode(" and so on")
    assert end_of(ended[:-1]) is None
    assert end_of([*ended, *more]) == len(ended)
    assert end_by_text(get_dialect("gemma_json"), tokenizer) is None
