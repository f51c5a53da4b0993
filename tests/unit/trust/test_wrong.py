"""What counts as an error, row by row."""

import numpy as np
import pytest

from textlabel.errors import AuditError
from textlabel.trust.wrong import wrong_class, wrong_in_any_label, wrong_labels, wrong_node, wrong_score

NAN = float("nan")
#: 0 over 1, 2; 1 over 3, 4; 5 is a tree of its own over 6
PARENTS = [-1, 0, 0, 1, 1, -1, 5]


@pytest.mark.parametrize(
    ("function", "arguments", "settled", "open_rows"),
    [
        (wrong_class, ([0, 1, 1], [0, 0, -1]), [False, True], 2),
        (wrong_score, ([1.0, 1.0, 1.0], [1.5, 1.6, NAN], 0.5), [False, True], 2),
        (wrong_in_any_label, ([[1, 0], [1, 0], [1, 0]], [[1, 0], [1, 1], [1, -1]]), [False, True], 2),
        (wrong_node, ([1, 2, 1], [3, 3, -1], PARENTS), [False, True], 2),
    ],
)
def test_unresolved_counts_as_declared(function, arguments, settled, open_rows):
    assert function(*arguments).tolist() == [*settled, True]
    assert function(*arguments, unresolved="right").tolist() == [*settled, False]
    assert function(*arguments).dtype == bool
    with pytest.raises(AuditError, match="'wrong' or 'right'"):
        function(*arguments, unresolved="maybe")


def test_a_label_already_wrong_needs_no_other_answer():
    assert wrong_in_any_label([[1, 0]], [[0, -1]], unresolved="right").tolist() == [True]
    assert wrong_labels([[1, 0]], [[0, -1]], unresolved="right").tolist() == [[True, False]]


def test_a_score_without_a_prediction_is_wrong():
    assert wrong_score([NAN], [1.0], 0.5, unresolved="right").tolist() == [True]


def test_nodes_agree_with_walking_up():
    rng = np.random.default_rng(0)
    parents = np.array([-1] + [rng.integers(0, i) for i in range(1, 60)])

    def line(node):
        return [node, *line(parents[node])] if node >= 0 else []

    emitted, answers = rng.integers(0, 60, 500), rng.integers(0, 60, 500)
    expected = [e not in line(a) for e, a in zip(emitted, answers, strict=True)]
    assert wrong_node(emitted, answers, parents).tolist() == expected
    assert not wrong_node(np.zeros(500), answers, parents).any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([7], [0], PARENTS), "emitted: expected nodes from 0 to 6"),
        (([0], [7], PARENTS), "answers: expected nodes from -1 to 6"),
        (([0], [0], [1, 9]), "parents: expected nodes"),
        (([2], [0], [1, 0, -1]), "circle"),
        (([0, 1], [0], PARENTS), "one shape"),
    ],
)
def test_trees_that_do_not_fit_are_refused(arguments, said):
    with pytest.raises(AuditError, match=said):
        wrong_node(*arguments)


def test_a_tolerance_is_not_negative():
    with pytest.raises(AuditError, match="tolerance = -1"):
        wrong_score([1.0], [1.0], -1)
