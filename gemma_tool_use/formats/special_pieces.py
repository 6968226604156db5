"""Which pieces of a vocabulary begin and end a text, and how a family's tokenizer is told by them.

special_pieces({"<|im_start|>": 151644, "<|im_end|>": 151645, "<|endoftext|>": 151643})
# SpecialPieces(family="ChatML", bos=None, eos="<|endoftext|>", pad="<|endoftext|>")
"""

import dataclasses
from collections.abc import Container


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpecialPieces:
    """Texts of the pieces with a role.

    Attributes:
      family: whose vocabulary it is, for messages.
      marks: pieces that tell the family, all of them there.
      bos: begins every sequence; None where nothing does.
      eos: ends a text; a dialect's end of turn is another piece in most families.
      pad: fills rows; never attended to, so any piece will do where the family has none.
    """

    family: str
    marks: tuple[str, ...]
    bos: str | None
    eos: str
    pad: str


KINDS = (
    SpecialPieces(
        family="Gemma",
        marks=("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
    ),
    SpecialPieces(
        family="ChatML",
        marks=("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
        bos=None,
        eos="<|endoftext|>",
        pad="<|endoftext|>",
    ),
    SpecialPieces(
        family="Llama 3",
        marks=("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        bos="<|begin_of_text|>",
        eos="<|end_of_text|>",
        pad="<|end_of_text|>",
    ),
    SpecialPieces(family="Llama 2 or Mistral", marks=("<s>", "</s>", "<unk>"), bos="<s>", eos="</s>", pad="<unk>"),
)
"""Every family of tokenizers that is read."""


def special_pieces(control: Container[str]) -> SpecialPieces | None:
    """The family whose marks are all among the control pieces of a vocabulary; None when there is none."""
    return next((kind for kind in KINDS if all(mark in control for mark in kind.marks)), None)
