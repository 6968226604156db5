"""Rules about language and length, the dearest ones: about 0.1 ms and 1 ms a row.

RuleSettings(languages=("en",))                                   # language of the first user message, by py3langid
RuleSettings(max_tokens=512, tokenizer=Path("tokenizer.model"))   # tokens of what is kept, in a dialect
"""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.rejects import Reject
from gemma_tool_use.data.rules import reasons
from gemma_tool_use.data.rules.settings import RuleSettings
from gemma_tool_use.data.rules.shape import Problem
from gemma_tool_use.errors import ConfigError, suggest
from gemma_tool_use.formats.dialects import get_dialect

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

    from gemma_tool_use.formats.tokenizer import Tokenizer

# Enough to be certain of a language; a longer question would only take longer.
MAX_CHARACTERS = 1000


def language(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    if not settings.languages:
        return None
    _check_known(settings.languages)
    question = next(message.content for message in conversation.messages if message.role == "user")
    found, probability = classify(question)
    if probability < settings.min_language_probability:
        return reasons.UNCLEAR_LANGUAGE, f"{found!r} with probability {probability:.2f}"
    if found not in settings.languages:
        return reasons.OTHER_LANGUAGE, f"{found!r}; asked for: {', '.join(settings.languages)}"
    return None


def classify(text: str) -> tuple[str, float]:
    """ISO 639-1 code and probability of the language of a text: `("en", 0.99)`."""
    code, probability = _identifier().classify(text[:MAX_CHARACTERS])
    return str(code), float(probability)


def tokens(conversation: Conversation, settings: RuleSettings) -> Problem | None:
    if settings.max_tokens is None or settings.tokenizer is None:
        return None
    from gemma_tool_use.data.rows import encode_row  # tokenizers take 0.2 s to import, in every worker
    from gemma_tool_use.formats.turn_tags import in_turns_of

    tokenizer = _tokenizer(settings.tokenizer)
    dialect = in_turns_of(get_dialect(settings.dialect), tokenizer)
    encoded = encode_row(conversation, dialect, tokenizer, max_length=settings.max_tokens)
    return (encoded.reason, encoded.detail) if isinstance(encoded, Reject) else None


@functools.cache
def _check_known(languages: tuple[str, ...]) -> None:
    known = set(_identifier().labels)
    if unknown := [code for code in languages if code not in known]:
        raise ConfigError(f"--languages takes ISO 639-1 codes, got {unknown[0]!r}. {suggest(unknown[0], known)}")


@functools.cache
def _identifier() -> "LanguageIdentifier":
    """Loaded once per process, half a second; its model is a file of the library and it uses no chance."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@functools.lru_cache(maxsize=2)
def _tokenizer(path: Path) -> "Tokenizer":
    from gemma_tool_use.formats.tokenizer import load_tokenizer

    return load_tokenizer(path)
