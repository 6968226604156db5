"""Byte-level tokenizers like Qwen's and Llama 3's, small enough to build in a test.

write_tiny_qwen_tokenizer(tmp_path)      # tmp_path/tokenizer.json, 256 bytes, some merges, ChatML's symbols behind
write_tiny_llama3_tokenizer(tmp_path)
"""

from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

# How both cut text before merging, with numbers of up to three digits as Llama 3 has them.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SAMPLE = [
    'system user assistant <tool_call> {"name": "get_weather", "arguments": {"location": "Paris", "unit": "celsius"}} ',
    "You may call one or more functions to assist with the user query. What is the weather in Oslo today?",
]
QWEN_SYMBOLS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
)
LLAMA3_SYMBOLS = (
    *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "<|python_tag|>",
)


def write_tiny_qwen_tokenizer(folder: Path) -> Path:
    """Writes `tokenizer.json` into an existing folder; text is composed (NFC) first, as Qwen's does."""
    return _write(folder, QWEN_SYMBOLS, special=3, normalizer=normalizers.NFC())


def write_tiny_llama3_tokenizer(folder: Path) -> Path:
    """Writes `tokenizer.json` into an existing folder."""
    return _write(folder, LLAMA3_SYMBOLS, special=len(LLAMA3_SYMBOLS), normalizer=None)


def _write(folder: Path, symbols: tuple[str, ...], special: int, normalizer: normalizers.Normalizer | None) -> Path:
    fast = tokenizers.Tokenizer(models.BPE())
    if normalizer is not None:
        fast.normalizer = normalizer
    split = pre_tokenizers.Split(Regex(_SPLIT), "isolated")
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    fast.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    fast.train_from_iterator(_SAMPLE, trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet))
    # As in Qwen's file, the tags of calls are symbols without the mark "special".
    fast.add_tokens([AddedToken(text, normalized=False, special=i < special) for i, text in enumerate(symbols)])
    fast.save(str(folder / "tokenizer.json"))
    return folder
