"""Intervals of clustered means and the paired tests, against numbers worked out by hand."""

import pytest

from armlite.evals.intervals import (
    clustered_interval,
    mcnemar,
    mean_interval,
    paired_bootstrap,
    paired_shares_interval,
)


def test_a_clustered_interval_follows_the_formula():
    # mean 0.5; residuals add up to a: +1, b: -0.5, c: -0.5 (each question asked twice)
    # variance = 3 / 2 * (1 + 0.25 + 0.25) / 6^2 = 0.0625, so the half width is 1.959964 * 0.25
    values, clusters = [1, 1, 0, 0.5, 0.5, 0], ["a", "a", "b", "b", "c", "c"]
    half = 1.959964 * 0.25
    assert clustered_interval(values, clusters) == pytest.approx((0.5 - half, 0.5 + half))


def test_clusters_of_one_give_the_plain_interval_and_repeats_do_not_shrink_it():
    values = [0.0, 1.0, 1.0, 0.0, 1.0]
    assert clustered_interval(values, range(5)) == pytest.approx(mean_interval(values))
    repeated, clusters = [v for v in values for _ in range(4)], [i for i in range(5) for _ in range(4)]
    assert clustered_interval(repeated, clusters) == pytest.approx(mean_interval(values))
    assert mean_interval(repeated)[1] < mean_interval(values)[1], "taken for independent they would promise too much"


def test_one_cluster_has_no_interval():
    assert clustered_interval([1.0, 0.0], ["a", "a"]) is None
    assert clustered_interval([], []) is None


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 5, 2 / 32),  # 2 * C(5,0) / 2^5
        (8, 1, 2 * (1 + 9) / 512),  # 2 * (C(9,0) + C(9,1)) / 2^9
        (2, 10, 2 * (1 + 12 + 66) / 4096),  # 2 * (C(12,0) + C(12,1) + C(12,2)) / 2^12
    ],
)
def test_mcnemars_exact_test_counts_coins(only_a, only_b, p):
    assert mcnemar(only_a, only_b) == pytest.approx(p)
    assert mcnemar(only_b, only_a) == pytest.approx(p)


def test_the_bootstrap_is_sure_of_a_clear_difference_and_not_of_none():
    (low, high), p = paired_bootstrap([0.2, 0.3, 0.25, 0.15, 0.3, 0.2, 0.1, 0.3] * 5)
    assert 0.15 < low < 0.225 < high < 0.3, "the mean is 0.225"
    assert p == pytest.approx(1 / 10_000), "no smaller than the number of draws can tell"
    (low, high), p = paired_bootstrap([-1.0, 1.0] * 20)
    assert low < 0 < high and p > 0.5
    assert paired_bootstrap([-1.0, 1.0] * 20) == ((low, high), p), "the same each time"
    assert paired_bootstrap([0.5]) is None


def test_the_interval_of_a_difference_of_shares_is_never_empty_and_stays_within_one():
    # 40 items, 2 only a and 10 only b: 8 / 42 -+ 1.96 * sqrt(12 + 1 - 64 / 42) / 42
    half = 1.959964 * (13 - 64 / 42) ** 0.5 / 42
    assert paired_shares_interval(2, 10, 40) == pytest.approx((8 / 42 - half, 8 / 42 + half))
    low, high = paired_shares_interval(0, 0, 6)
    assert low == -high < 0, "two runs that never differed on six items may differ on others"
    assert paired_shares_interval(0, 3, 3)[1] <= 1.0
    assert paired_shares_interval(0, 0, 0) is None
