import numpy as np

from moist.mixture import load_bundle
from moist.runtime import RoutedSession


def test_an_export_is_written_into_the_bundle(run, digits_bundle):
    code, out, err = run("export", digits_bundle)
    assert code == 0, err
    assert out.startswith(f"{digits_bundle}/onnx: ")
    assert "3 specialists" in out
    raw = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    with RoutedSession(digits_bundle) as session:
        expected = load_bundle(digits_bundle).predict_proba(raw)
        np.testing.assert_allclose(session.predict(raw).probabilities, expected, atol=1e-4)
        assert session.name == "digits"
    assert load_bundle(digits_bundle).num_domains == 3, "the bundle still opens with an export in it"


def test_int8_says_what_it_lost(run, run_json, digits_bundle, tmp_path):
    told = run_json("export", digits_bundle, "--int8", "--out", tmp_path / "onnx", "--quiet")
    assert told["path"] == str(tmp_path / "onnx")
    report = told["int8"]
    assert len(report["specialists"]) == 3
    assert report["mixture"]["test"]["top1_agreement"] > 0.9
    code, out, err = run("export", digits_bundle, "--int8", "--quiet")
    assert code == 0, err
    assert "domain 2" in out
    assert "mixture, test part: " in out
    assert not (digits_bundle / "onnx" / "trunk.weights").exists()


def test_int8_needs_data(run, text_bundle):
    code, _, err = run("export", text_bundle, "--int8")
    assert code == 2
    assert "does not say which data it was made from; name some with --data" in err


def test_a_missing_bundle_is_one_line(run, tmp_path):
    code, _, err = run("export", tmp_path / "none")
    assert code == 2
    assert err.startswith("moist: error: a bundle is a folder with a bundle.json, there is nothing at")
