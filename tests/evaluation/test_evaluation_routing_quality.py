import json

import numpy as np
import pytest

from moist.evaluation import routing_report


def test_a_report_by_hand():
    chosen = np.array([0, 0, 0, 1])
    report = routing_report(chosen, 3, target=np.array([0, 1, 1, 1]), num_classes=3, true_domain=np.array([0, 0, 1, 1]))
    assert report["load"] == [0.75, 0.25, 0.0]
    assert report["entropy"] == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert report["max_over_mean_load"] == pytest.approx(2.25)  # 3/4 against a mean of 1/3
    assert report["dead"] == [2]  # under 1/12
    assert report["class_by_domain"] == [[1, 0, 0], [2, 1, 0], [0, 0, 0]]
    assert report["routed_right"] == 0.75
    assert report["domain_confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    json.dumps(report, allow_nan=False)


def test_limits_balanced_and_collapsed():
    balanced = routing_report(np.arange(8) % 4, 4)
    assert balanced["entropy"] == pytest.approx(np.log(4))
    assert balanced["max_over_mean_load"] == 1.0
    assert balanced["dead"] == []
    collapsed = routing_report(np.zeros(8, dtype=np.int64), 4)
    assert collapsed["entropy"] == 0.0
    assert collapsed["max_over_mean_load"] == 4.0
    assert collapsed["dead"] == [1, 2, 3]


def test_without_labels_the_tables_are_left_out():
    report = routing_report(np.array([0, 1]), 2)
    assert "class_by_domain" not in report
    assert "routed_right" not in report


def test_a_quarter_of_the_fair_share_is_not_yet_dead():
    # K = 2: the limit is 1/8; exactly one of eight is alive
    assert routing_report(np.array([0, 0, 0, 0, 0, 0, 0, 1]), 2)["dead"] == []
