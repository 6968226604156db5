"""Equal questions have equal keys, near ones near signatures, and the hashes are those of every other machine."""

import json
import random
import string
import time

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from gemma_tool_use.conversation import Conversation, Message, ToolCall, ToolSpec
from gemma_tool_use.data import keys, minhash
from gemma_tool_use.data.keys import normalise, row_keys
from gemma_tool_use.data.minhash import signature, signatures, similarity

LONG = "I am planning a road trip to California this weekend. Are there any weather alerts for the state?"


def row(*questions, tools=("get_alerts",), calls=("get_alerts",), **kwargs):
    messages = [Message(role="user", content=question) for question in questions]
    reply = Message(role="assistant", content="ok", calls=tuple(ToolCall(name=name) for name in calls))
    specs = tuple(tool if isinstance(tool, ToolSpec) else ToolSpec(name=tool) for tool in tools)
    return Conversation(id="r", tools=specs, messages=(*messages, reply), **kwargs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  What's 3 km in MILES?? ", "what's 3 km in miles"),
        ("“Set Volume to ５０％!”", "set volume to 50%"),
        ("What\u2019s \u200bup \u2013 today\u00a0?", "what's up - today"),
        ("-5 + 3", "-5 + 3"),
        ("5 - 3", "5 - 3"),
        ("pay $1,299.50 (now)", "pay $1,299.50 now"),
        ("STRASSE, Straße", "strasse strasse"),
        ("北京的天气如何？", "北京的天气如何"),
        ("... ?!", ""),
    ],
)
def test_a_question_is_normalised_as_in_the_picture(text, expected):
    assert normalise(text) == expected


@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(alphabet=string.ascii_letters + string.digits + " ", min_size=1), st.sampled_from(["?", "!", " .", "…"]))
def test_case_spacing_and_the_final_mark_make_no_other_question(text, mark):
    assert normalise(text) == normalise(f"  {text.upper().replace(' ', '   ')}{mark} \n")


def test_signs_of_arithmetic_make_another_question():
    assert len({normalise(text) for text in ("5 + 3", "5 - 3", "5 / 3", "5 3")}) == 4


def test_hashes_are_those_of_every_other_machine():
    assert keys.hash_text("weather in oslo") == 0x8142799D15E8EA52
    assert keys.tool_id(ToolSpec(name="now")) == 0xE7900D80B10F2E62
    assert signature("weather in oslo")[:3].tolist() == [14156899, 799064531, 82099543]


@given(st.text(max_size=40) | st.text("ab \ud83d", max_size=3000))
def test_signatures_are_those_of_datasketch(text):
    reference = MinHash(num_perm=128, scheme="affine32", seed=1, hashfunc=int)
    hashes: list[int] = []
    padded = text.ljust(5)
    for start in range(len(padded) - 4):
        value = 0
        for char in padded[start : start + 5]:
            value = (value * 0x01000193 + ord(char)) % 2**32
        hashes.append(value)
    reference.update_batch(hashes)
    assert np.array_equal(signature(text), reference.hashvalues)


@given(st.lists(st.text(max_size=12) | st.text("ab \ud83d", max_size=4000), max_size=12), st.integers(1, 200))
def test_signatures_of_many_texts_are_those_of_each_whatever_is_permuted_at_once(texts, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash, "_BLOCK", block)
        patch.setattr(minhash, "_TEXTS", 5)
        patch.setattr(minhash, "_RECENT", {})
        together = signatures(texts)
    minhash._RECENT.clear()
    assert together.shape == (len(texts), 128)
    assert np.array_equal(together, np.array([signature(text) for text in texts]).reshape(-1, 128))


@given(st.integers(0, 20), st.integers(0, 2**32))
def test_bands_of_many_rows_are_those_of_each(rows, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2**32, (rows, 128), np.uint32)
    groups = rng.integers(0, 2**64, rows, np.uint64)
    each = [minhash.bands(value, groups=int(group)) for value, group in zip(values, groups, strict=True)]
    assert np.array_equal(minhash.bands(values, groups=groups), np.array(each, np.uint64).reshape(rows, 16))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_the_id_of_a_tool_is_the_hash_of_its_name_and_sorted_parameters(parameters):
    text = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
    for _ in range(2):  # the second time it may come from a cache
        assert keys.tool_id(ToolSpec(name="f", parameters=parameters)) == keys.hash_parts(["f", text])


def test_the_exact_hash_is_of_the_question_and_the_set_of_tools():
    first = row_keys(row("Weather in Oslo?", tools=("a", "b")))
    assert first.exact == row_keys(row("weather in OSLO", tools=("b", "a"))).exact
    assert first.exact != row_keys(row("weather in oslo", tools=("a",))).exact
    assert first.exact != row_keys(row("weather in rome", tools=("a", "b"))).exact
    assert first.question == row_keys(row("weather in oslo", tools=("a",))).question


def test_every_user_message_is_part_of_the_question():
    assert keys.question_key(row("Hi!", "Weather in Oslo?")) == "hi\nweather in oslo"
    assert row_keys(row("Hi!", "Weather in Oslo?")).question != row_keys(row("Hi!", "Play jazz")).question


def test_a_tool_is_its_name_and_parameters_whatever_the_order_of_keys_and_the_description():
    one = ToolSpec(name="f", description="a", parameters={"type": "object", "properties": {"x": {}, "y": {}}})
    two = ToolSpec(name="f", description="b", parameters={"properties": {"y": {}, "x": {}}, "type": "object"})
    other = ToolSpec(name="f", parameters={"type": "object", "properties": {"x": {}}})
    assert keys.tool_id(one) == keys.tool_id(two) != keys.tool_id(other)
    assert keys.api_id("getWeather") == keys.api_id("getweather") != keys.api_id("getNews")


def test_a_mapped_name_counts_as_the_api_that_its_source_calls_so():
    mapped = row("q", tools=("get_news",), calls=("get_news",), meta={"names": {"get_news": "Get News/v2"}})
    own = row("q", tools=("Get News/v2",), calls=("Get News/v2",))
    assert row_keys(mapped).apis == row_keys(own).apis
    assert row_keys(mapped).called == row_keys(own).called


def shuffled_pair(jaccard: float, rng: random.Random) -> tuple[str, str]:
    """Two texts whose 5-character shingles have about this Jaccard similarity: a common part and two own ones."""
    common, own = round(1200 * jaccard / (1 + jaccard)), round(600 * (1 - jaccard) / (1 + jaccard))

    def letters(count: int) -> str:
        return "".join(rng.choices(string.ascii_lowercase, k=count))

    shared = letters(common)
    return shared + letters(own), shared + letters(own)


def jaccard(first: str, second: str) -> float:
    one, two = ({text[i : i + 5] for i in range(len(text) - 4)} for text in (first, second))
    return len(one & two) / len(one | two)


@pytest.mark.parametrize("planted", [0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_signatures_estimate_the_planted_similarity(planted):
    rng = random.Random(1)
    pairs = [shuffled_pair(planted, rng) for _ in range(60)]
    errors = [similarity(signature(a), signature(b)) - jaccard(a, b) for a, b in pairs]
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.06


@pytest.mark.parametrize("planted", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_pairs_become_candidates_as_often_as_the_curve_says(planted):
    rng = random.Random(2)
    pairs = [shuffled_pair(planted, rng) for _ in range(400)]
    expected = np.mean([1 - (1 - jaccard(a, b) ** 8) ** 16 for a, b in pairs])
    shared = np.mean([bool(np.any(minhash.bands(signature(a)) == minhash.bands(signature(b)))) for a, b in pairs])
    assert shared == pytest.approx(expected, abs=0.08)


def test_bands_of_other_groups_never_meet():
    values = signature(normalise(LONG))
    assert np.array_equal(minhash.bands(values, groups=3), minhash.bands(values, groups=3))
    assert not np.intersect1d(minhash.bands(values, groups=3), minhash.bands(values, groups=4)).size
    assert minhash.bands(values).shape == (16,)
    assert minhash.bands(values).dtype == np.uint64


def test_short_texts_have_signatures_too():
    for text in ("", "a", "jazz", "weather"):
        assert similarity(signature(text), signature(text)) == 1.0
    assert similarity(signature("jazz"), signature("rock")) < 0.1
    assert signature("a").shape == (128,)


def test_of_near_duplicates_the_earlier_row_is_kept():
    rows = [
        row("Play some jazz in the kitchen, please"),
        row(LONG),
        row(LONG.replace("trip", "tour")),
        row("What is the capital of France, and how many people live there?"),
        row(LONG.replace("weekend", "week")),
        row("play SOME jazz in the kitchen please!"),
    ]
    assert keys.near_duplicates([row_keys(r) for r in rows]) == {2: 1, 4: 1, 5: 0}
    assert not keys.near_duplicates([row_keys(r) for r in rows[:2] + rows[3:4]])


def test_rows_that_call_other_apis_are_no_duplicates():
    called, declined = row(LONG), row(LONG, calls=())
    assert not keys.near_duplicates([row_keys(called), row_keys(declined)])
    assert keys.near_duplicates([row_keys(called), row_keys(row(LONG, tools=("get_alerts", "more")))]) == {1: 0}


def test_a_question_with_another_number_is_a_row_of_its_own_when_it_is_short():
    short = [row("Convert 3 km to miles"), row("Convert 5 km to miles")]
    assert not keys.near_duplicates([row_keys(r) for r in short])


def test_a_lone_surrogate_has_keys_like_any_text():
    assert row_keys(row("a \ud83d b")).question != row_keys(row("a b")).question


def test_signatures_of_endless_texts_take_bounded_memory_and_time():
    start = time.perf_counter()
    assert similarity(signature("ab" * 2_000_000), signature("ab" * 2_000_000 + "c")) == 1.0
    assert time.perf_counter() - start < 5
