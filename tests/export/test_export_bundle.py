import json
import sys

import numpy as np
import pytest
from export_examples import make_example, write_bundle
from tiny_mixtures import CASES

from moist.data import TextTransform
from moist.errors import UserError
from moist.export import export_bundle, graph_inputs
from moist.runtime import RoutedSession


def one_by_one(session, raw):
    answers = [session.predict(raw[row : row + 1]) for row in range(len(raw))]
    return {
        name: np.concatenate([getattr(answer, name) for answer in answers])
        for name in ("probabilities", "domain", "deferred", "macs")
    }


def assert_agrees(session, tiny):
    """One input through the routed graph and a batch in groups must both give what torch gives."""
    expected = tiny.mixture.predict_all(tiny.raw)
    grouped, alone = session.predict(tiny.raw), one_by_one(session, tiny.raw)
    for name, answer in alone.items():
        np.testing.assert_allclose(getattr(grouped, name), answer, atol=1e-6)
    np.testing.assert_allclose(grouped.probabilities, expected.probabilities.numpy(), atol=1e-4)
    np.testing.assert_array_equal(grouped.domain, expected.routing.expert_indices[:, 0].numpy())
    np.testing.assert_array_equal(grouped.deferred, expected.deferred.numpy())
    return grouped


@pytest.mark.parametrize("case", CASES)
def test_an_export_answers_as_torch_does(case, tmp_path):
    tiny = make_example(case)
    bundle = write_bundle(tiny, tmp_path / "bundle")
    export_bundle(bundle, allow_factory=case == "own-factory")
    with RoutedSession(bundle) as session:
        answer = assert_agrees(session, tiny)
        assert len(np.unique(answer.domain)) > 1, "the test is to reach several specialists"
        assert session.classes == tiny.mixture.classes
        assert session.num_domains == 4
        assert session.kind == tiny.mixture.transform.kind
        assert session.input_schema == tiny.mixture.schema.to_dict()


@pytest.mark.parametrize("top_k", [2, "all"])
@pytest.mark.parametrize("case", ["table-mlp", "image-resnet-trunk", "text-transformer"])
def test_several_specialists_and_deferring(case, top_k, tmp_path):
    tiny = make_example(case, top_k=top_k, defer=True)
    bundle = write_bundle(tiny, tmp_path / "bundle")
    export_bundle(bundle)
    with RoutedSession(bundle) as session:
        answer = assert_agrees(session, tiny)
    # Worked by hand from the bundle's counts: trunk, router, the specialists that ran, the generalist if asked.
    costs = json.loads((bundle / "bundle.json").read_text())["costs"]
    each = json.loads((bundle / "bundle.json").read_text())["domains"][0]["macs"]
    ran = costs["trunk"]["macs"] + costs["router"]["macs"] + (4 if top_k == "all" else 2) * each
    np.testing.assert_allclose(answer.macs, ran + answer.deferred * costs["generalist"]["macs"])


def test_deferring_to_the_teacher_is_only_marked(tmp_path):
    tiny = make_example("table-mlp", defer=True)
    inference = tiny.mixture.inference
    tiny.mixture.inference = inference.model_copy(
        update={"defer": inference.defer.model_copy(update={"to": "teacher"})}
    )
    tiny.mixture.generalist = None
    bundle = write_bundle(tiny, tmp_path / "bundle")
    manifest = export_bundle(bundle)
    assert manifest["graphs"]["generalist"] is None
    with RoutedSession(bundle) as session:
        assert assert_agrees(session, tiny).deferred.any()


@pytest.mark.parametrize(
    "student", [{"family": "dscnn", "width": 2}, {"family": "resnet", "width": 2, "stem_stride": 2}]
)
def test_other_convolutional_students(student, tmp_path, monkeypatch):
    source, _, _ = CASES["image-resnet"]
    monkeypatch.setitem(CASES, "other", (source, student, {"trunk_stages": 2, "router": {"reads": "trunk"}}))
    tiny = make_example("other")
    bundle = write_bundle(tiny, tmp_path / "bundle")
    export_bundle(bundle)
    with RoutedSession(bundle) as session:
        assert_agrees(session, tiny)


def test_large_weights_are_on_disk_once(tmp_path, monkeypatch):
    monkeypatch.setattr("moist.export.files.MAPPED_BYTES", 64)
    tiny = make_example("text-bag")
    bundle = write_bundle(tiny, tmp_path / "bundle")
    manifest = export_bundle(bundle)
    specialists = [entry["reads"] for entry in manifest["graphs"]["specialists"]]
    assert specialists == [[f"specialist-{k:03d}.weights"] for k in range(4)]
    assert manifest["graphs"]["routed"]["reads"] == ["router.weights", *(name for [name] in specialists)]
    table = tiny.mixture.specialists[1][0].embedding.weight.detach().numpy().tobytes()
    assert table in (bundle / "onnx" / "specialist-001.weights").read_bytes()
    assert all(table not in graph.read_bytes() for graph in (bundle / "onnx").glob("*.onnx"))
    with RoutedSession(bundle) as session:
        assert_agrees(session, tiny)


def test_an_own_student_that_onnx_cannot_say_is_a_clear_error(tmp_path, monkeypatch):
    tiny = make_example("table-mlp")
    bundle = write_bundle(tiny, tmp_path / "bundle")

    def nothing(*_):
        raise RuntimeError("Unsupported operator aten::none_such")

    module = sys.modules["moist.export.capture"]  # the room has a function of the same name
    monkeypatch.setattr(module, "_trace", nothing)
    monkeypatch.setattr(module, "_program", nothing)
    with pytest.raises(UserError, match=r"the router has none \(Unsupported operator aten::none_such\).*load_bundle"):
        export_bundle(bundle)
    assert not (bundle / "onnx").exists()


def test_an_export_replaces_only_an_export(tmp_path):
    bundle = write_bundle(make_example("table-mlp"), tmp_path / "bundle")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="an export replaces only another export"):
        export_bundle(bundle, tmp_path / "mine")
    first = export_bundle(bundle, tmp_path / "onnx")
    assert export_bundle(bundle, tmp_path / "onnx") == first


def test_texts_go_in_as_ids():
    transform = TextTransform(4, 64)
    ids = graph_inputs(transform, np.array(["one two", "three"], dtype=object))
    assert ids.dtype == np.int64
    assert (ids > 0).sum(axis=1).tolist() == [2, 1]
