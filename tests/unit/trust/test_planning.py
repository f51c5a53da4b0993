from __future__ import annotations

import numpy as np
import pytest

from textlabel.trust.certificate import Audit
from textlabel.trust.certificates.finish import certify
from textlabel.trust.planning import forecast, recalibrated


def curve(n):
    return np.linspace(0, 0.4, n)


def test_a_forecast_is_what_certificates_bring_on_average():
    p, rng, accepted = curve(2000), np.random.default_rng(1), []
    for _ in range(300):
        wrong, ranks = rng.random(2000) < p, rng.choice(2000, 300, replace=False)
        accepted.append(certify(Audit(2000, ranks, wrong[ranks]), 0.1, 0.025).accepted)
    told = forecast(p, 300, 0.1, 0.025, repeats=300)
    assert told.accepted == pytest.approx(np.mean(accepted), rel=0.03)
    assert told.low == pytest.approx(np.quantile(accepted, 0.1), rel=0.08)
    assert told.people == pytest.approx(2000 - told.accepted + 300 * told.accepted / 2000, rel=0.02)
    assert told.hours == pytest.approx(told.people * 20 / 3600, abs=0.05)


def test_too_few_rows_accept_nothing_and_people_label_all():
    told = forecast(curve(2000), 50, 0.05, 0.025)
    assert (told.accepted, told.people) == (0, 2000)
    assert isinstance(told.hours, float)
    assert told.least == 70
    assert forecast(curve(2000), 70, 0.05, 0.025).accepted > 0


def test_tolerating_more_is_never_worse():
    accepted = [forecast(curve(2000), 300, e, 0.025).accepted for e in (0.02, 0.05, 0.1, 0.2)]
    assert accepted == sorted(accepted)


def test_a_pilot_corrects_a_confidence_that_is_too_sure():
    rng = np.random.default_rng(0)
    expected = rng.uniform(0, 0.2, 5000)
    wrong = rng.random(5000) < 2 * expected
    corrected = recalibrated([0.05, 0.1, 0.15], expected, wrong)
    np.testing.assert_allclose(corrected, [0.1, 0.2, 0.3], atol=0.04)
