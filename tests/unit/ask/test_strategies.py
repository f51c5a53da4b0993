"""What every strategy must hold, and what each is for."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from textlabel import registry
from textlabel.ask import DEFAULT_STRATEGY, Pool, margins, propose
from textlabel.ask.stopping import Round
from textlabel.ask.stopping.certificate import predicted_share
from textlabel.ask.stopping.kappa import kappa
from textlabel.errors import CorpusError, PluginError, RecipeError

STRATEGIES = sorted(registry.plugins("strategy"))


def blobs(n=200, k=4, seed=0, known=12):
    """Return a pool of k clusters of rows, which are the classes, some of them labeled."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    x = 4 * np.eye(k, 8)[y] + rng.normal(size=(n, 8))
    p = np.exp(x[:, :k])
    p /= p.sum(axis=1, keepdims=True)
    labels = np.full(n, -1)
    labels[:known] = y[:known]
    votes = np.stack([p, np.roll(p, 1, axis=1) * 0.3 + p * 0.7])
    return Pool(x, labels, k, p, votes, np.arange(n)), y


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_asks_open_rows_once_each_and_the_same_for_a_seed(name):
    pool, _ = blobs()
    found = propose(pool, 40, name, seed=3)
    assert len(found) == len(set(found.tolist())) == 40
    assert (pool.labels[found] < 0).all()
    np.testing.assert_array_equal(found, propose(pool, 40, name, seed=3))


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_gives_all_that_is_left_and_no_more(name):
    pool, _ = blobs(30)
    assert sorted(propose(pool, 1000, name).tolist()) == list(range(12, 30))


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_text_is_asked_twice(name):
    pool, _ = blobs()
    groups = np.arange(200) // 4  # four copies of each text, of which some are labeled
    copies = Pool(pool.features, pool.labels, 4, pool.probabilities, pool.votes, groups)
    found = propose(copies, 200, name)
    assert len(found) == 47  # of 50 texts three have an answer
    assert len(set(groups[found].tolist())) == 47
    assert not set(groups[found].tolist()) & {0, 1, 2}


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_can_begin_before_the_first_label(name):
    pool, y = blobs(known=0)
    cold = Pool(pool.features, pool.labels, 4)
    found = propose(cold, 8, name)
    assert len(found) == 8
    if name in ("typiclust", "probcover", "core_set", DEFAULT_STRATEGY):
        assert len(set(y[found].tolist())) == 4


def test_uncertain_rows_are_those_by_definition():
    pool, _ = blobs()
    rows = pool.open()
    p = pool.probabilities[rows]
    for name, score in (
        ("least_confidence", p.max(axis=1)),
        ("margin", margins(p)),
        ("entropy", (p * np.log(p)).sum(axis=1)),
    ):
        worst = set(rows[np.argsort(score, kind="stable")[:15]].tolist())
        assert set(propose(pool, 15, name).tolist()) == worst


def test_a_class_with_few_labels_comes_first():
    pool, _ = blobs(known=0)
    labels = np.full(200, -1)
    labels[[0, 4, 8, 1, 5, 9, 2, 6, 10]] = [0, 0, 0, 1, 1, 1, 2, 2, 2]  # none of class 3
    found = propose(Pool(pool.features, labels, 4, pool.probabilities), 3, "class_balanced_margin")
    assert (pool.probabilities[found].argmax(axis=1) == 3).all()


def test_core_set_is_greedy_k_center():
    pool, _ = blobs(60, known=3)
    x = pool.features / np.linalg.norm(pool.features, axis=1, keepdims=True)
    near = list(range(3))
    for row in propose(pool, 10, "core_set").tolist():
        far = np.linalg.norm(x[:, None] - x[near][None], axis=2).min(axis=1)
        assert far[row] == pytest.approx(far.max(), abs=1e-3)
        near.append(row)


def test_badge_prefers_large_and_different_gradients():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(50, 4)) * 0.01, rng.normal(size=(50, 4)) * 5])
    p = np.full((100, 2), 0.5)
    found = propose(Pool(x, np.full(100, -1), 2, p), 10, "badge")
    assert (found >= 50).sum() >= 9


def test_cal_asks_where_neighbors_are_told_otherwise():
    x = np.eye(2)[np.arange(40) // 20] + 0.01 * np.arange(40)[:, None]
    p = np.tile([0.9, 0.1], (40, 1))
    p[25] = [0.1, 0.9]
    labels = np.full(40, -1)
    labels[[0, 1, 20, 21]] = 0
    assert propose(Pool(x, labels, 2, p), 1, "cal").tolist() == [25]


def test_disagreement_asks_where_heads_differ():
    votes = np.tile([0.9, 0.1], (2, 30, 1))
    votes[1, 17] = [0.1, 0.9]
    pool = Pool(np.eye(30), np.full(30, -1), 2, votes.mean(axis=0), votes)
    assert propose(pool, 1, "disagreement").tolist() == [17]


def test_typical_rows_lie_in_the_middle_of_large_clusters_without_labels():
    rng = np.random.default_rng(0)
    x = 8 * np.eye(2)[np.arange(120) // 60] + rng.normal(size=(120, 2))
    labels = np.full(120, -1)
    labels[0] = 0
    found = propose(Pool(x, labels, 2), 1, "typiclust")
    assert found[0] >= 60


@pytest.mark.parametrize("chunk", [7, 1024])
def test_the_most_typical_row_of_each_cluster_is_asked(chunk, monkeypatch):
    """By hand: of each of four far clusters the row with the least mean distance to its 20 nearest."""
    from scipy.spatial.distance import cdist

    from textlabel.ask.strategies import typiclust

    monkeypatch.setattr(typiclust, "_AT_ONCE", chunk)
    rng = np.random.default_rng(1)
    sizes = (90, 60, 50, 30)
    y = np.repeat(np.arange(4), sizes)
    x = 20 * np.eye(4, 12)[y] + rng.normal(size=(230, 12))
    found = propose(Pool(x, np.full(230, -1), 4), 4, "typiclust", seed=5)
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    wanted = []
    for c, size in enumerate(sizes):  # the largest cluster first
        rows = np.flatnonzero(y == c)
        near = np.sort(cdist(z[rows], z[rows]), axis=1)[:, 1 : 1 + min(20, size // 2)]
        wanted.append(rows[near.mean(axis=1).argmin()])
    assert found.tolist() == wanted


def test_balls_are_as_large_as_nearly_all_of_them_are_pure():
    """By hand: of all distances at which balls end, the largest at which 95 % hold one cluster alone."""
    from sklearn.cluster import MiniBatchKMeans

    from textlabel.ask import unit
    from textlabel.ask.strategies.probcover import PURE, _radius

    rng = np.random.default_rng(2)
    y = np.arange(240) % 3
    x = unit(3 * np.eye(3, 6)[y] + rng.normal(size=(240, 6)))
    distance = 2 - 2 * x @ x.T
    cluster = MiniBatchKMeans(
        3, n_init=1, random_state=int(np.random.default_rng(7).integers(2**31))
    ).fit_predict(x)
    found = _radius(distance, x, 3, np.random.default_rng(7))

    def pure(radius):
        inside = distance < radius
        return np.mean([len(set(cluster[ball])) <= 1 for ball in inside])

    assert pure(found) >= PURE
    assert pure(np.nextafter(np.float32(found), np.float32(9)) + 1e-6) < PURE
    pairs = distance < found
    same = cluster[:, None] == cluster[None]
    assert (pairs & same).sum() / pairs.sum() > PURE  # which many large pure balls would hide


def test_probcover_covers_more_than_random_rows():
    pool, _ = blobs(400, known=0)
    from textlabel.ask import unit

    x = unit(pool.features)
    near = 2 - 2 * x @ x.T < 0.5

    def covered(rows):
        return near[rows].any(axis=0).mean()

    chosen = [
        covered(propose(pool, 8, name, seed=seed)) for name in ("probcover", "random") for seed in range(5)
    ]
    assert np.mean(chosen[:5]) > np.mean(chosen[5:]) + 0.05


SKACTIVEML = ("CoreSet", "QueryByCommittee", "UncertaintySampling")
MORE = (
    "Badge",
    "BatchBALD",
    "Clue",
    "DiscriminativeAL",
    "Falcun",
    "GreedyBALD",
    "GreedySamplingX",
    "MaxHerding",
)
MORE += ("ProbCover", "ProbabilisticAL", "Quire", "RandomSampling", "TypiClust")


@pytest.mark.filterwarnings("ignore")  # of scikit-activeml, whose committees have few rows
@pytest.mark.parametrize(
    "name", [*SKACTIVEML, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)]
)
def test_strategies_of_scikit_activeml(name):
    pytest.importorskip("skactiveml")
    pool, _ = blobs()
    closed = np.zeros(200, bool)
    closed[100:] = True
    pool = replace(pool, closed=closed)
    found = propose(pool, 8, f"skactiveml:{name}", seed=3)
    assert len(found) == len(set(found.tolist())) == 8
    assert set(found.tolist()) <= set(range(12, 100))
    np.testing.assert_array_equal(found, propose(pool, 8, f"skactiveml:{name}", seed=3))
    cold = Pool(pool.features, np.full(200, -1), 4)
    assert len(propose(cold, 4, f"skactiveml:{name}")) == 4


def test_uncertain_rows_of_scikit_activeml_are_near_the_border():
    pytest.importorskip("skactiveml")
    rng = np.random.default_rng(0)
    x = np.stack([np.linspace(-3, 3, 200), rng.normal(size=200)], axis=1)
    labels = np.full(200, -1)
    labels[:20], labels[-20:] = 0, 1
    labels[1::7] = (x[1::7, 0] > 0).astype(int)
    found = propose(Pool(x, labels, 2, np.full((200, 2), 0.5)), 10, "skactiveml:UncertaintySampling")
    assert np.abs(x[found, 0]).max() < 1


def test_a_strategy_that_scikit_activeml_does_not_have_is_told():
    pytest.importorskip("skactiveml")
    pool, _ = blobs()
    with pytest.raises(RecipeError, match=r"'skactiveml:CoreSets'.*CoreSet"):
        propose(pool, 1, "skactiveml:CoreSets")
    with pytest.raises(RecipeError, match="skactiveml:GreedySamplingTarget"):  # for numbers
        propose(pool, 1, "skactiveml:GreedySamplingTarget")


def test_without_scikit_activeml_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skactiveml", None)
    with pytest.raises(RecipeError, match=r"pip install -e '.\[skactiveml\]'"):
        propose(blobs()[0], 1, "skactiveml:CoreSet")


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [({"count": 0}, RecipeError, "1 row or more"), ({"strategy": "margins"}, PluginError, "margin")],
)
def test_what_makes_no_sense_is_refused(change, error, told):
    pool, _ = blobs()
    given = {"count": 5, "strategy": "margin", **change}
    with pytest.raises(error, match=told):
        propose(pool, given["count"], given["strategy"])


def test_arrays_that_do_not_fit_and_an_empty_pool_are_refused():
    pool, y = blobs()
    with pytest.raises(CorpusError, match="labels"):
        propose(Pool(pool.features, y[:-1], 4), 5)
    with pytest.raises(CorpusError, match="no row left"):
        propose(Pool(pool.features, y, 4), 5)


def test_kappa_is_scikit_learns():
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.integers(3, size=(2, 50))
        assert kappa(a, b) == pytest.approx(cohen_kappa_score(a, b))
    assert kappa(np.zeros(5, int), np.zeros(5, int)) == 1.0


def test_stopping_rules():
    settled = np.tile([0.99, 0.01], (50, 1))
    settled[25:] = settled[25:, ::-1]
    turned = settled[:, ::-1]
    rules = {name: registry.load("stopping", name) for name in registry.plugins("stopping")}
    rounds = [Round(10 * i, p) for i, p in enumerate([turned, settled, settled, settled])]
    assert rules["kappa"].stop(rounds) == ""
    assert "hardly changed" in rules["kappa"].stop([*rounds, Round(40, settled)])
    assert "may label 100%" in rules["certificate"].stop(rounds)
    assert rules["certificate"].stop([Round(10, np.full((50, 2), 0.5))]) == ""
    assert rules["certificate"].stop([]) == rules["kappa"].stop([]) == rules["budget"].stop(rounds) == ""
    assert predicted_share(np.full((4, 2), 0.5), 0.5) == 1.0
