from textlabel.trust.calibration import softmax
from textlabel.trust.calibrators import none


def test_it_is_the_softmax():
    logits = [[0.3, -2.0, 1.0]]
    assert (none.fit(logits, [0]).apply(logits) == softmax(logits)).all()
