import gc
import shutil
import subprocess
import sys
import tempfile
import threading

import numpy as np
import pytest
import torch

from moist.errors import UserError
from moist.runtime import EXPORT, RoutedSession

HEAVY = ["torch", "sklearn", "scipy", "pydantic", "yaml", "pyarrow", "safetensors", "PIL", "matplotlib", "rich", "onnx"]
PROGRAM = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {heavy}:
            raise ImportError("must not be imported: " + name)
sys.meta_path.insert(0, Refuse())
from moist import RoutedSession
with RoutedSession({path!r}) as session:
    raw = {raw}
    one, many = session.predict(raw[:1]), session.predict(raw)
    print(one.probabilities.shape, many.domain.shape, session.votes(raw[:1]).shape)
assert not [name for name in sys.modules if name.split(".")[0] in {heavy}]
"""
INPUTS = {
    "table-mlp": "session.encode([{'a': 1.5, 'b': '2', 'c': 'y'}, {'a': None, 'b': 0, 'c': '?'}])",
    "image-resnet-trunk": "__import__('numpy').zeros((2, 8, 8, 3), dtype='uint8')",
    "text-bag": "['red green', '']",
}


@pytest.mark.parametrize("case", INPUTS)
def test_a_session_needs_numpy_and_onnxruntime_only(case, exported):
    _, bundle = exported(case)
    program = PROGRAM.format(heavy=set(HEAVY), path=str(bundle), raw=INPUTS[case])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "(1, 3) (2,) (4, 3)"


def test_specialists_are_opened_when_needed_and_the_last_used_stay(exported):
    tiny, bundle = exported("table-mlp")
    expected = tiny.mixture.predict_all(tiny.raw)
    domains = expected.routing.expert_indices[:, 0].numpy()
    assert len(np.unique(domains)) > 2, "the test is to reach several specialists"
    with RoutedSession(bundle, max_resident=2) as session:
        assert session.resident == ()
        used = []
        for row in range(len(tiny.raw)):
            answer = session.predict(tiny.raw[row : row + 1])
            np.testing.assert_allclose(answer.probabilities[0], expected.probabilities[row].numpy(), atol=1e-4)
            k = int(domains[row])
            used = [*(other for other in used if other != k), k][-2:]
            assert session.resident == tuple(used)


def test_a_specialist_that_had_to_go_comes_back_from_the_sessions_own_folder(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tiny, bundle = exported("table-mlp")
    with RoutedSession(bundle) as plain:
        expected = plain.predict(tiny.raw)
    with RoutedSession(bundle, max_resident=1) as session:
        for _ in range(2):
            np.testing.assert_allclose(session.predict(tiny.raw).probabilities, expected.probabilities, atol=1e-6)
        kept = {path.stem for path in tmp_path.glob("moist-*/*.onnx")}
        assert kept == {str(k) for k in np.unique(expected.domain)}
    gc.collect()
    assert not list(tmp_path.glob("moist-*"))


def test_without_a_place_for_such_a_folder_specialists_are_opened_anew(exported, tmp_path, monkeypatch):
    tiny, bundle = exported("table-mlp")
    with RoutedSession(bundle) as plain:
        expected = plain.predict(tiny.raw).probabilities
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with RoutedSession(bundle, max_resident=1) as session:
        np.testing.assert_allclose(session.predict(tiny.raw).probabilities, expected, atol=1e-6)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with RoutedSession(bundle, max_resident=1) as session:
        (folder,) = tmp_path.glob("moist-*")
        folder.rmdir()  # nothing can be written there any more
        np.testing.assert_allclose(session.predict(tiny.raw).probabilities, expected, atol=1e-6)


def test_without_a_limit_one_input_opens_no_specialist_by_itself(exported):
    tiny, bundle = exported("table-mlp")
    with RoutedSession(bundle) as session:
        session.predict(tiny.raw[:1])
        assert session.resident == ()
        answer = session.predict(tiny.raw)
        assert sorted(session.resident) == np.unique(answer.domain).tolist()


def test_behind_many_branches_one_input_opens_its_own_specialist(exported, monkeypatch):
    tiny, bundle = exported("table-mlp")
    with RoutedSession(bundle) as session:
        routed = session.predict(tiny.raw[:1])
        monkeypatch.setattr("moist.runtime.mixture.MOST_BRANCHES", 2)
        alone = session.predict(tiny.raw[:1])
        assert session.resident == tuple(alone.domain)
    assert alone.domain == routed.domain
    np.testing.assert_allclose(alone.probabilities, routed.probabilities, atol=1e-6)


def test_a_budget_of_memory_counts_the_bytes_of_files(exported):
    tiny, bundle = exported("table-mlp")
    sizes = [(bundle / "onnx" / f"specialist-{k:03d}.onnx").stat().st_size for k in range(4)]
    with RoutedSession(bundle, memory_budget=sum(sorted(sizes)[-3:])) as session:
        session.votes(tiny.raw[:1])
        assert session.resident == (1, 2, 3)
    with pytest.raises(UserError, match=f"memory_budget must have room for the largest specialist, {max(sizes)} bytes"):
        RoutedSession(bundle, memory_budget=max(sizes) - 1)


def test_votes_are_every_specialists_own_answer(exported):
    tiny, bundle = exported("image-resnet-trunk")
    with RoutedSession(bundle) as session:
        votes = session.votes(tiny.raw[:1])
        answer = session.predict(tiny.raw[:1])
    inputs = tiny.mixture.transform.to_tensor(torch.from_numpy(tiny.raw[:1]))
    with torch.inference_mode():
        expected = tiny.mixture.forward_all(inputs)[1].softmax(dim=-1)[0].numpy()
    np.testing.assert_allclose(votes, expected, atol=1e-4)
    np.testing.assert_allclose(votes[answer.domain[0]], answer.probabilities[0], atol=1e-6)


def test_many_threads_may_ask_at_once(exported):
    tiny, bundle = exported("table-mlp")
    failures = []
    with RoutedSession(bundle, max_resident=1) as session:
        expected = session.predict(tiny.raw).probabilities

        def ask(start):
            for row in range(start, len(tiny.raw), 4):
                answer = session.predict(tiny.raw[row : row + 1]).probabilities[0]
                if not np.allclose(answer, expected[row], atol=1e-6):
                    failures.append(row)

        threads = [threading.Thread(target=ask, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_openvino_gives_the_same(exported):
    pytest.importorskip("openvino", reason="openvino is optional")
    tiny, bundle = exported("image-resnet-trunk")
    with RoutedSession(bundle) as session, RoutedSession(bundle, runtime="openvino") as other:
        for raw in (tiny.raw, tiny.raw[:1]):
            one, two = session.predict(raw), other.predict(raw)
            np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-4)
            np.testing.assert_array_equal(one.domain, two.domain)


@pytest.mark.parametrize(
    ("case", "raw", "words"),
    [
        ("image-resnet-trunk", np.zeros((2, 8, 9, 3), dtype=np.uint8), r"uint8 of shape \(N, 8, 8, 3\), got uint8 of"),
        ("image-resnet-trunk", np.zeros((2, 8, 8, 3)), "must be uint8 .* got float64"),
        ("image-resnet-trunk", np.zeros((0, 8, 8, 3), dtype=np.uint8), "at least one input, got none"),
        ("text-bag", "red green", "must be a list of strings, got 'red green'"),
        ("text-bag", [1, 2], "must be a list of strings"),
        ("table-mlp", np.zeros((2, 4)), r"shape \(N, 3\), got \(2, 4\); give the columns a, b, c"),
        ("table-mlp", [["x", 1, 2]], "rows must be numbers"),
    ],
)
def test_wrong_inputs_are_refused(case, raw, words, exported):
    _, bundle = exported(case)
    with RoutedSession(bundle) as session, pytest.raises(UserError, match=words):
        session.predict(raw)


def test_wrong_calls_are_refused(exported, tmp_path):
    tiny, bundle = exported("table-mlp")
    with pytest.raises(UserError, match="max_resident must be at least 1"):
        RoutedSession(bundle, max_resident=0)
    with pytest.raises(UserError, match="Did you mean 'onnxruntime'"):
        RoutedSession(bundle, runtime="onnxrt").predict(tiny.raw)
    session = RoutedSession(bundle / "onnx")
    with pytest.raises(UserError, match="of one input, got 2"):
        session.votes(tiny.raw[:2])
    session.close()
    with pytest.raises(UserError, match="was closed"):
        session.predict(tiny.raw)
    with pytest.raises(UserError, match=r"there is nothing at .*none; check the path"):
        RoutedSession(tmp_path / "none")
    shutil.copytree(bundle, tmp_path / "bundle", ignore=shutil.ignore_patterns("onnx"))
    with pytest.raises(UserError, match="was not exported yet; run: moist export"):
        RoutedSession(tmp_path / "bundle")


def test_damage_is_found_before_it_is_run(exported, tmp_path):
    tiny, bundle = exported("table-mlp")
    for path in sorted((bundle / "onnx").iterdir()):
        copy = shutil.copytree(bundle / "onnx", tmp_path / path.name)
        data = bytearray((copy / path.name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / path.name).write_bytes(data)
        with pytest.raises(UserError, match=path.name):  # noqa: PT012
            session = RoutedSession(copy)
            session.predict(tiny.raw[:1])
            session.votes(tiny.raw[:1])
        (copy / path.name).unlink()
        with pytest.raises(UserError, match=path.name):
            RoutedSession(copy)


def test_a_file_outside_the_folder_is_refused(exported, tmp_path):
    _, bundle = exported("table-mlp")
    copy = shutil.copytree(bundle / "onnx", tmp_path / "copy")
    manifest = EXPORT.read_manifest(copy)
    manifest["files"]["../../secret"] = manifest["files"]["routed.onnx"]
    manifest["graphs"]["routed"]["reads"] = ["../../secret"]
    manifest.pop("sha256")
    EXPORT.write_manifest(copy, manifest)
    with pytest.raises(UserError, match=r"plain path inside the folder, got '\.\./\.\./secret'"):
        RoutedSession(copy)
