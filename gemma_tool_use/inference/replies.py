"""From conversations to parsed replies, with the dialect's own prompt and parser: there is no other chat template.

replies = reply_to(Sampler(model), tokenizer, get_dialect("gemma_json"), [conversation])
replies[0].calls        # (ToolCall(name="get_weather", arguments={"city": "Oslo"}),)
"""

import bisect
from collections.abc import Sequence

from gemma_tool_use.conversation import Conversation, Reply
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.encode import encode
from gemma_tool_use.formats.tokenizer import Tokenizer
from gemma_tool_use.inference.sampler import EndOf, Sampler, SamplingConfig


def reply_to(
    sampler: Sampler,
    tokenizer: Tokenizer,
    dialect: Dialect,
    conversations: Sequence[Conversation],
    *,
    config: SamplingConfig | None = None,
) -> list[Reply]:
    """The model's next message for each conversation, parsed by the dialect."""
    prompts = [encode(dialect.prompt(conversation), tokenizer).tokens.tolist() for conversation in conversations]
    generated = sampler.generate(
        prompts,
        stop_ids=stop_ids(dialect, tokenizer),
        pad_id=tokenizer.pad_id,
        config=config,
    )
    return [dialect.parse(reply_text(tokens, tokenizer)) for tokens in generated]


def reply_text(tokens: Sequence[int], tokenizer: Tokenizer) -> str:
    """The text of a reply. A checkpoint's embedding has rows behind the last piece (Qwen3: 267), which a model may
    name though nothing trained them; each becomes U+FFFD.
    """
    unknown = "\ufffd".encode()
    known = (tokenizer.token_bytes(id) if id < tokenizer.vocab_size else unknown for id in tokens)
    return b"".join(known).decode("utf-8", "replace")


def stop_ids(dialect: Dialect, tokenizer: Tokenizer) -> list[int]:
    """`<eos>` and those of the dialect's stop texts that are one control token.

    A stop text of several tokens is none of them: `end_by_text` sees it, and the dialect's parser ends the reply there.
    """
    return [tokenizer.eos_id, *(tokenizer.control_ids[t] for t in dialect.stop_texts if t in tokenizer.control_ids)]


def end_by_text(dialect: Dialect, tokenizer: Tokenizer) -> EndOf | None:
    """Ends a reply at a stop text of several tokens, which it keeps; None for a dialect that has none.

    Without it a model that writes `hermes` on Gemma's tokenizer, in which `<|im_end|>` is ordinary text, goes on to the
    longest reply each time.
    """
    texts = [text for text in dialect.stop_texts if text not in tokenizer.control_ids]

    def over(tokens: Sequence[int]) -> bool:
        written = reply_text(tokens, tokenizer)
        return any(text in written for text in texts)

    def end_of(tokens: Sequence[int]) -> int | None:
        if not over(tokens):
            return None
        return bisect.bisect_left(range(len(tokens)), True, key=lambda count: over(tokens[:count]))

    return end_of if texts else None
