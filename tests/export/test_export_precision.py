import numpy as np
import pytest
from export_examples import make_example

from moist.export import ExportData, LabelledInputs, choose_precision, mixture_fragments, quantize
from moist.export.checking import run_fragment
from moist.export.precision import _judge, _route


def labelled(tiny, rows):
    """Return inputs whose labels are what the mixture itself says: in float32 it is always right."""
    raw = np.tile(tiny.raw, (rows // len(tiny.raw) + 1, *[1] * (tiny.raw.ndim - 1)))[:rows]
    return LabelledInputs(raw, tiny.mixture.predict_all(raw).probabilities.numpy().argmax(axis=1))


@pytest.fixture(scope="module")
def trunked():
    tiny = make_example("image-resnet-trunk")
    part = labelled(tiny, 240)
    return mixture_fragments(tiny.mixture), ExportData(part, part, part)


def test_int8_is_chosen_and_measured_part_by_part(trunked):
    parts, data = trunked
    chosen, report = choose_precision(parts, data, quiet=True)
    assert report["trunk"]["accuracy_float32"] == 1.0
    assert report["generalist"] is None
    assert [entry["domain"] for entry in report["specialists"]] == [0, 1, 2, 3]
    for before, after, entry in zip(parts.specialists, chosen.specialists, report["specialists"]):
        assert entry["accuracy_float32"] - entry["accuracy_int8"] <= 0.005 or entry["precision"] == "float32"
        quantised = any(node.op_type == "QuantizeLinear" for node in after.nodes)
        assert quantised == (entry["precision"] == "int8")
        assert quantised or after == before
    for part in ("validation", "test"):
        entry = report["mixture"][part]
        assert entry["accuracy_float32"] == 1.0
        assert entry["top1_agreement"] == entry["accuracy_int8"]
        assert entry["rows"] == 240


def test_a_specialist_is_calibrated_on_inputs_of_its_own_domain(trunked, monkeypatch):
    parts, data = trunked
    asked = []

    def remember(fragment, rows):
        asked.append(rows)
        return fragment

    monkeypatch.setattr("moist.export.precision.quantize", remember)
    monkeypatch.setattr("moist.export.precision.FEWEST_CALIBRATION_ROWS", 2)
    _, report = choose_precision(parts, data, quiet=True)
    routed = _route(parts, run_fragment(parts.transform, data.train.inputs))
    for k, rows in enumerate(asked[1:]):
        own = routed.rows_of(k)
        if len(own) >= 2:
            np.testing.assert_array_equal(rows, routed.features[own])
        assert report["specialists"][k]["calibration_rows"] == len(rows) >= 2
    assert sum(len(routed.rows_of(k)) >= 2 for k in range(4)) > 1, "the test is to see several domains"
    assert {entry["precision"] for entry in report["specialists"]} == {"float32"}


@pytest.mark.parametrize(("after", "precision"), [(0.91, "int8"), (0.896, "int8"), (0.894, "float32")])
def test_more_than_half_a_point_is_too_much(trunked, after, precision):
    parts, _ = trunked
    first, second = parts.specialists[:2]
    kept, entry = _judge(first, second, lambda fragment: 0.9 if fragment is first else after)
    assert entry == {"precision": precision, "accuracy_float32": 0.9, "accuracy_int8": after}
    assert kept is (second if precision == "int8" else first)


def test_what_multiplies_nothing_stays_as_it_is(trunked):
    parts, _ = trunked
    assert quantize(parts.transform, np.zeros((4, 8, 8, 3), dtype=np.uint8)) is parts.transform


def test_quantised_outputs_are_close(trunked):
    parts, data = trunked
    read = run_fragment(parts.transform, data.train.inputs)
    before, after = run_fragment(parts.trunk, read), run_fragment(quantize(parts.trunk, read), read)
    assert not np.array_equal(before, after)
    assert np.abs(before - after).mean() < 0.05 * np.abs(before).mean()
