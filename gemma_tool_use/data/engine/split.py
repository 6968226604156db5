"""Divides rows into train and eval so that no question and no API stands on both sides.

    split = assign(questions, apis, offsets, share=0.05, seed=0)
    split.is_eval          # bool [rows]
    split.largest          # rows of the largest group that cannot be divided

Rows that share a question or an API belong together, and so do rows that are linked through others: the groups are the
connected components of the graph between questions and APIs. Whole groups go to eval, in an order that the seed
decides, as long as they fit into the share. A group larger than the share stays in train: the public sets offer a few
tools almost everywhere, and then the eval side gets less than was asked for rather than a leak.
"""

import dataclasses

import numpy as np

SIDES = TRAIN, EVAL = "train", "eval"
"""Names of the sides; `SIDES[is_eval]`."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Keys:
    """The keys of rows: `apis[offsets[i] : offsets[i + 1]]` are those of row `i`.

    Attributes:
      questions: uint64 [rows], hash of each row's question.
      apis: uint64 [all tools of all rows], id of each API offered.
      offsets: int64 [rows + 1].
    """

    questions: np.ndarray
    apis: np.ndarray
    offsets: np.ndarray

    @property
    def api_rows(self) -> np.ndarray:
        """int64 [len(apis)]: the row to which each API belongs."""
        return np.repeat(np.arange(len(self.questions)), np.diff(self.offsets))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Which rows are for evaluation.

    Attributes:
      is_eval: bool [rows].
      groups: number of groups that cannot be divided.
      largest: rows of the largest of them.
    """

    is_eval: np.ndarray
    groups: int
    largest: int


def assign(keys: Keys, *, share: float, seed: int) -> Split:
    """Chooses whole groups for eval until `share` of the rows is reached or no group fits any more."""
    rows = len(keys.questions)
    if not rows:
        return Split(is_eval=np.zeros(0, bool), groups=0, largest=0)
    group = _groups(keys)
    sizes = np.bincount(group)
    # A group is known by its smallest question hash, so its place in the order does not depend on the other rows.
    name = np.full(len(sizes), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(name, group, keys.questions)
    left = round(share * rows)
    chosen = np.zeros(len(sizes), bool)
    for number in np.lexsort((name, mixed(name, seed))):
        if not left:
            break
        if sizes[number] <= left:
            chosen[number] = True
            left -= int(sizes[number])
    return Split(is_eval=chosen[group], groups=len(sizes), largest=int(sizes.max()))


def leaks(keys: Keys, is_eval: np.ndarray) -> dict[str, tuple[int, int, int]]:
    """What stands on both sides: `{"API": (its id, a train row, an eval row)}`; empty when nothing does."""
    found = {}
    for name, values, rows in (
        ("question", keys.questions, np.arange(len(keys.questions))),
        ("API", keys.apis, keys.api_rows),
    ):
        sides = is_eval[rows]
        both = np.intersect1d(values[sides], values[~sides])
        if len(both):
            at = np.flatnonzero(values == both[0])
            train, held_out = rows[at[~sides[at]][0]], rows[at[sides[at]][0]]
            found[name] = (int(both[0]), int(train), int(held_out))
    return found


def mixed(values: np.ndarray, seed: int) -> np.ndarray:
    """uint64 in, uint64 out: another order for each seed (the finaliser of SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(0x9E3779B97F4A7C15) * np.uint64(seed + 1)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def _groups(keys: Keys) -> np.ndarray:
    """int [rows]: the connected component of each row."""
    # Workers import this module and group nothing; SciPy takes each of them 0.2 s.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, question = np.unique(keys.questions, return_inverse=True)
    apis, api = np.unique(keys.apis, return_inverse=True)
    nodes = len(names) + len(apis)
    edges = (question[keys.api_rows], len(names) + api)
    graph = coo_array((np.ones(len(api), np.int8), edges), shape=(nodes, nodes))
    _, label = connected_components(graph, directed=False)
    _, group = np.unique(label[question], return_inverse=True)
    return group
