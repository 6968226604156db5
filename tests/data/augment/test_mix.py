"""The mix: proportions, share of rows without a call, copies, limits; decided on keys. Laws and pictures."""

import collections
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_tool_use.data.augment import LEFT_OUT, STAGES, Mixed, MixRow, MixSettings, mix
from gemma_tool_use.data.augment.quotas import Available, Quota, apportion, quotas
from gemma_tool_use.errors import ConfigError, DataError


def keys(source: str, *, call: int = 0, no_call: int = 0, convertible: int = 0) -> list[MixRow]:
    kinds = [(True, False)] * call + [(True, True)] * convertible + [(False, False)] * no_call
    return [
        MixRow(id=f"{source}:{i}", source=source, has_call=has_call, convertible=can)
        for i, (has_call, can) in enumerate(kinds)
    ]


def taken(rows: list[MixRow], mixed: Mixed) -> collections.Counter[tuple[str, bool]]:
    """Rows of the result for each source and whether they have a call, copies included."""
    result = collections.Counter[tuple[str, bool]]()
    for row, copies, without in zip(rows, mixed.copies.tolist(), mixed.no_call.tolist(), strict=True):
        result[row.source, row.has_call and not without] += copies
    return result


def no_call_share(found: collections.Counter[tuple[str, bool]]) -> tuple[int, int]:
    return sum(n for (_, has_call), n in found.items() if not has_call), found.total()


def test_by_default_every_row_is_taken_once():
    rows = keys("a", call=5, no_call=3) + keys("b", call=2)
    assert MixSettings().changes_nothing and not MixSettings(max_rows=3).changes_nothing
    mixed = mix(rows, MixSettings())
    assert mixed.copies.tolist() == [1] * 10 and not mixed.no_call.any()
    assert mixed.counts == {"taken": 10, LEFT_OUT: 0, "made a row without a call": 0, "copies": 0}
    assert mix([], MixSettings()).copies.size == 0


def test_weights_are_proportions_reached_by_leaving_rows_out():
    rows = keys("toucan", call=600, no_call=400) + keys("xlam", call=500)
    found = taken(rows, mix(rows, MixSettings(weights={"toucan": 3, "xlam": 1})))
    assert (found["toucan", True] + found["toucan", False], found["xlam", True]) == (1000, 333)
    assert abs(found["toucan", False] - 400) <= 1, "a source keeps its own share of rows without a call"


def test_the_picture_of_the_docstring():
    available = {"toucan": Available(600, 0, 400), "xlam": Available(500, 0, 0)}
    settings = MixSettings(weights={"toucan": 3, "xlam": 1}, max_no_call_share=0.2)
    assert quotas(available, settings.weights, settings) == PICTURE


def test_a_subset_has_a_weight_of_its_own():
    rows = keys("toucan/irrelevant", no_call=50) + keys("toucan/single-turn", call=50)
    found = taken(rows, mix(rows, MixSettings(weights={"toucan": 4, "toucan/irrelevant": 1})))
    assert (found["toucan/single-turn", True], found["toucan/irrelevant", False]) == (50, 13)


def test_a_cap_on_rows_without_a_call_leaves_only_those_out():
    rows = keys("a", call=80, no_call=80)
    found = taken(rows, mix(rows, MixSettings(max_no_call_share=0.2)))
    assert found == {("a", True): 80, ("a", False): 20}


def test_a_least_share_leaves_calls_out_or_makes_rows_without():
    rows = keys("a", call=10, convertible=80, no_call=10)
    assert taken(rows, mix(rows, MixSettings(min_no_call_share=0.25))) == {("a", True): 30, ("a", False): 10}
    mixed = mix(rows, MixSettings(min_no_call_share=0.25, make_no_call=True))
    assert taken(rows, mixed) == {("a", True): 75, ("a", False): 25}
    assert mixed.counts["made a row without a call"] == 15
    assert all(row.convertible for row, made in zip(rows, mixed.no_call, strict=True) if made)


def test_copies_fill_a_scarce_source_up_evenly():
    rows = keys("big", call=90) + keys("small", call=10)
    mixed = mix(rows, MixSettings(weights={"big": 3, "small": 1}, max_copies=3))
    assert taken(rows, mixed) == {("big", True): 90, ("small", True): 30}
    assert mixed.copies[90:].tolist() == [3] * 10
    assert mixed.counts == {"taken": 100, LEFT_OUT: 0, "made a row without a call": 0, "copies": 20}
    uneven = mix(rows, MixSettings(weights={"big": 6, "small": 1}, max_copies=3)).copies
    assert sorted(uneven[90:].tolist()) == [1] * 5 + [2] * 5 and set(uneven[:90].tolist()) == {1}


def test_copies_of_converted_rows_stay_within_the_limit():
    rows = keys("a", convertible=3) + keys("b", call=100)
    settings = MixSettings(
        weights={"a": 1, "b": 1}, max_copies=2, make_no_call=True, min_no_call_share=0.25, max_no_call_share=0.25
    )
    mixed = mix(rows, settings)
    without, total = no_call_share(taken(rows, mixed))
    assert mixed.copies.max() <= 2 and total >= 10 and abs(without - total / 4) < 1


def test_copies_are_made_only_where_a_proportion_needs_them():
    rows = keys("big", call=90) + keys("small", call=10)
    assert mix(rows, MixSettings(weights={"big": 9, "small": 1}, max_copies=5)).copies.tolist() == [1] * 100
    assert mix(rows, MixSettings(max_copies=5)).copies.tolist() == [1] * 100


def test_a_limit_keeps_the_proportions():
    rows = keys("a", call=100) + keys("b", call=100)
    assert taken(rows, mix(rows, MixSettings(weights={"a": 3, "b": 1}, max_rows=40))) == {
        ("a", True): 30,
        ("b", True): 10,
    }


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [({"a": 1.0}, "no weight for the source 'b'"), ({"a": 1.0, "b": 1.0, "bb": 1.0}, "a weight for 'bb', but no row")],
)
def test_weights_that_do_not_fit_the_sources_are_named(weights: dict[str, float], complaint: str):
    with pytest.raises(DataError, match=complaint):
        mix(keys("a", call=2) + keys("b", call=2), MixSettings(weights=weights))


def test_a_mix_that_takes_nothing_says_what_there_was():
    with pytest.raises(DataError, match="none of 3 rows: all sources: 3 with and 0 without a call"):
        mix(keys("a", call=3), MixSettings(min_no_call_share=0.9))


def test_settings_of_the_mix_report_every_problem():
    with pytest.raises(ConfigError, match=r"weight of 'a' .* min_no_call_share .* max_copies .* max_rows"):
        MixSettings(weights={"a": 0}, min_no_call_share=0.5, max_no_call_share=0.4, max_copies=0, max_rows=0)


stocks = st.builds(Available, st.integers(0, 40), st.integers(0, 20), st.integers(0, 30))
shares = st.tuples(st.sampled_from([0, 0.1, 0.25, 0.5]), st.sampled_from([0.5, 0.6, 0.9, 1]))
mix_settings = st.builds(
    lambda weights, share, copies, make, limit: MixSettings(
        weights=dict(zip("abc", weights, strict=True)) if weights else {},
        min_no_call_share=share[0],
        max_no_call_share=share[1],
        max_copies=copies,
        make_no_call=make,
        max_rows=limit,
    ),
    st.none() | st.tuples(*[st.sampled_from([1, 2, 5.5])] * 3),
    shares,
    st.integers(1, 3),
    st.booleans(),
    st.none() | st.integers(1, 50),
)


@given(
    st.tuples(stocks, stocks, stocks).filter(lambda s: all(map(sum, s))),
    mix_settings,
    st.randoms(use_true_random=False),
)
def test_what_is_asked_for_is_reached_within_one_row(found, settings: MixSettings, random):
    rows = list(
        itertools.chain(
            *(
                keys(name, call=a.call, no_call=a.no_call, convertible=a.convertible)
                for name, a in zip("abc", found, strict=True)
            )
        )
    )
    try:
        mixed = mix(rows, settings)
    except DataError:
        return
    result = taken(rows, mixed)
    without, total = no_call_share(result)
    assert settings.min_no_call_share * total - 1 < without < settings.max_no_call_share * total + 1
    assert mixed.copies.max() <= settings.max_copies and total <= (settings.max_rows or total)
    assert mixed.counts["taken"] + mixed.counts[LEFT_OUT] == len(rows)
    assert total == mixed.counts["taken"] + mixed.counts["copies"]
    assert settings.make_no_call or not mixed.no_call.any()
    for name, weight in settings.weights.items():
        own = sum(n for (source, _), n in result.items() if source == name)
        assert abs(own - total * weight / sum(settings.weights.values())) < 1
    assert {s: (q.call, q.no_call) for s, q in mixed.quotas.items() if s} == {
        s: (result[s, True], result[s, False]) for s in mixed.quotas if s
    }
    order = list(range(len(rows)))
    random.shuffle(order)
    again = mix((rows[i] for i in order), settings)
    assert again.copies.tolist() == [mixed.copies[i] for i in order]
    assert again.no_call.tolist() == [mixed.no_call[i] for i in order]


@given(stocks, st.integers(1, 2), st.booleans())
def test_no_mix_with_one_more_row_would_have_been_possible(stock: Available, copies: int, convert: bool):
    """Against brute force over all totals and splits of a single source."""
    if not convert:
        stock = Available(stock.call + stock.convertible, 0, stock.no_call)
    settings = MixSettings(min_no_call_share=0.3, max_no_call_share=0.5, max_copies=copies)
    quota = quotas({"": stock}, {"": 1.0}, settings)[""]
    best = 0
    for call, no_call in itertools.product(range(sum(stock) * copies + 1), repeat=2):
        made = range(max(0, -(-no_call // copies) - stock.no_call), stock.convertible + 1)
        possible = any(call <= (stock.call + stock.convertible - m) * copies for m in made)
        if possible and call + no_call <= sum(stock) and 0.3 * (call + no_call) <= no_call <= 0.5 * (call + no_call):
            best = max(best, call + no_call)
    assert quota.call + quota.no_call >= best - copies + 1


@given(st.integers(0, 1000), st.lists(st.floats(0.01, 1), min_size=1, max_size=5))
def test_apportioned_numbers_add_up_and_are_within_one(total: int, weights: list[float]):
    parts = [weight / sum(weights) for weight in weights]
    found = apportion(total, parts)
    assert sum(found) == total
    assert all(abs(n - total * part) < 1 for n, part in zip(found, parts, strict=True))


def test_every_stage_has_its_number_and_settings_that_exist():
    assert [stage.number for stage in STAGES.values()] == [1, 2, 3, 4]
    assert all(stage.name == name and stage.help for name, stage in STAGES.items())
    assert not STAGES["multi-turn"].rules.single_turn and STAGES["single-turn"].rules.subsets == (
        "single-turn-original",
    )


PICTURE = {
    "toucan": Quota(call=600, no_call=218, converted=0),
    "xlam": Quota(call=273, no_call=0, converted=0),
}
