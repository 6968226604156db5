"""Seeded texts that try to smuggle control pieces into a tokenizer: torn tags, odd Unicode, white-space runs."""

import random
from collections.abc import Sequence

TURN_TAGS = ("<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "[multimodal]")
OTHER_TAGS = ("<unused0>", "<unused3>", "<start_of_image>", "<end_of_image>", "<image_soft_token>", "<0x0A>", "<0x00>")
ODD = (
    *(
        "\0",
        "\ufeff",
        "\u200d",
        "e\u0301",
        "\U0001f469\u200d\U0001f467",
        "\u00a0",
        "\u3000",
        "\u2028",
        "\x85",
        "\ufb01",
    ),
    *("\u0130", "\u202e", "\uffff", "<table>", "</h1>", "<h", "user\n", "model\n", '{"name": "f"}', "Weather in Oslo?"),
)
_RUN_LENGTHS = (1, 2, 3, 5, 8, 9, 30, 31, 32, 33, 64)


def hostile_texts(count: int, *, seed: int, pieces: Sequence[str] = ()) -> list[str]:
    """`count` texts; `pieces` are further fragments to mix in, such as those of a vocabulary. No U+2581."""
    rng = random.Random(seed)
    texts = ("".join(_fragment(rng, pieces) for _ in range(rng.randrange(1, 14))) for _ in range(count))
    return [text.replace("\u2581", " ") for text in texts]


def _fragment(rng: random.Random, pieces: Sequence[str]) -> str:
    match rng.randrange(8):
        case 0 | 1:
            return rng.choice(TURN_TAGS)
        case 2:
            return rng.choice(OTHER_TAGS)
        case 3:
            tag = rng.choice(TURN_TAGS)
            cut = rng.randrange(len(tag))
            return rng.choice((tag[:cut], tag[cut:]))
        case 4:
            return rng.choice("\n\t \r<>[]_") * rng.choice(_RUN_LENGTHS)
        case 5:
            return "".join(_character(rng) for _ in range(rng.randrange(1, 8)))
        case 6:
            return rng.choice(ODD)
        case _:
            return rng.choice(pieces) if pieces else rng.choice(ODD)


def _character(rng: random.Random) -> str:
    """A code point of one, two, three or four bytes with equal chance; never a surrogate."""
    low, high = rng.choice(((0, 0x80), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000)))
    return chr(rng.randrange(low, high))
