import copy
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from tiny_mixtures import CASES, CLASSES, entries, make_tiny

import moist
from moist.mixture import InferenceSettings, LazySpecialists, inspect_bundle, load_bundle, save_bundle
from moist.mixture.bundle_files import write_manifest
from moist.types import UserError


def save(tiny, path, **changes):
    arguments = {"student": tiny.student, "settings": tiny.settings, "measured": entries(), **changes}
    save_bundle(tiny.mixture, path, **arguments)
    return path


@pytest.fixture
def bundle(tmp_path):
    return save(make_tiny(), tmp_path / "bundle")


def assert_same(one, other):
    assert torch.equal(one.probabilities, other.probabilities)
    assert torch.equal(one.routing.logits, other.routing.logits)
    assert torch.equal(one.routing.expert_indices, other.routing.expert_indices)
    assert torch.equal(one.deferred, other.deferred)


def rewrite(bundle, change):
    """Change bundle.json as one who knows the format would, its own checksum included."""
    manifest = json.loads((bundle / "bundle.json").read_text())
    change(manifest)
    manifest.pop("sha256", None)
    write_manifest(bundle, manifest)


def assert_rejected(bundle, words):
    """Loading and using every specialist must fail with an error that says ``words``."""
    with pytest.raises(UserError, match=words):
        list(load_bundle(bundle).specialists)
    with pytest.raises(UserError, match=words):
        inspect_bundle(bundle, verify=True)


@pytest.mark.parametrize("max_resident", [None, 1])
@pytest.mark.parametrize("case", CASES)
def test_a_loaded_bundle_answers_bit_for_bit_as_the_saved_mixture(case, max_resident, tmp_path):
    tiny = make_tiny(case, top_k=2, defer=True)
    save(tiny, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle", max_resident=max_resident, allow_factory=case == "own-factory")
    expected = tiny.mixture.predict_all(tiny.raw)
    assert_same(loaded.predict_all(tiny.raw), expected)
    assert len(expected.routing.expert_indices.unique()) > 1, "the test is to reach several specialists"
    assert expected.deferred.any()
    scores, logits = loaded.forward_all(loaded.transform.to_tensor(torch.from_numpy(loaded.transform.encode(tiny.raw))))
    assert scores.shape == (40, 4)
    assert logits.shape == (40, 4, 3)


def test_everything_but_the_weights_comes_back_too(tmp_path):
    tiny = make_tiny(defer=True, top_k="all")
    loaded = load_bundle(save(tiny, tmp_path / "bundle"))
    assert loaded.classes == CLASSES
    assert loaded.schema == tiny.mixture.schema
    assert loaded.transform == tiny.mixture.transform
    assert loaded.inference == tiny.mixture.inference
    assert loaded.threshold == 0.5
    assert not loaded.training
    assert loaded.predict(tiny.raw).tolist() == tiny.mixture.predict(tiny.raw).tolist()


def test_loading_leaves_the_random_generator_as_it_was(bundle):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    list(load_bundle(bundle).specialists)
    assert torch.equal(torch.rand(3), expected)


def test_a_loaded_mixture_can_be_saved_again(bundle, tmp_path):
    tiny = make_tiny()
    again = load_bundle(bundle, max_resident=1)
    for target in (tmp_path / "again", bundle):
        save_bundle(again, target, student=tiny.student, settings=tiny.settings, measured={})
        assert_same(load_bundle(target).predict_all(tiny.raw), tiny.mixture.predict_all(tiny.raw))


def test_the_public_names_are_those_of_the_package(bundle):
    assert isinstance(moist.load_bundle(bundle), moist.MixtureOfSpecialists)
    assert re.match(r"\d", moist.__version__)
    assert "load_bundle" in dir(moist)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = moist.nonsense


def test_importing_the_package_stays_light():
    code = "import moist, sys; print('torch' in sys.modules, 'numpy' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


def test_bundle_json_says_what_is_inside(bundle):
    facts = inspect_bundle(bundle, verify=True)
    assert facts["classes"] == list(CLASSES)
    assert facts["num_domains"] == 4
    assert facts["mixture"]["router"]["kind"] == "linear"
    assert facts["measured"]["mixture"]["accuracy"] == 0.9
    assert [domain["load"] for domain in facts["domains"]] == [0.97, 0.01, 0.01, 0.01]
    assert sorted(facts["files"]) == ["README.md", "router.safetensors"] + [
        f"specialists/00{k}.safetensors" for k in range(4)
    ]
    # Worked by hand: 2 numbers, 1 mark, and an embedding of 2 for 3 codes make 5 inputs; the embedding read costs 2,
    # the layers 5 · 5 + 5 · 3. The linear router reads an embedding of its own and maps 5 to 4.
    assert facts["domains"][0]["macs"] == 2 + 25 + 15
    assert facts["domains"][0]["params"] == 3 * 2 + (25 + 5) + (15 + 3)
    assert facts["costs"]["router"]["macs"] == 2 + 20
    assert facts["costs"]["active"]["macs"] == pytest.approx(42 + 22)
    assert facts["costs"]["total"]["macs"] == 4 * 42 + 22


def test_the_card_shows_the_controls_and_the_limits(bundle):
    card = (bundle / "README.md").read_text(encoding="utf-8")
    assert "| single student of the same cost | 88.00% | 130 | – |" in card
    assert "a \\| teacher" in card
    assert "hardly any input: 1, 2, 3" in card
    assert "moist.load_bundle(" in card
    assert "größe \\| x" in card


def test_a_bundle_needs_no_pickle(bundle):
    assert {path.suffix for path in bundle.rglob("*") if path.is_file()} == {".json", ".md", ".safetensors"}


@pytest.mark.parametrize("case", ["table-mlp-trunk"])
def test_one_flipped_bit_in_any_file_is_found(case, tmp_path):
    bundle = save(make_tiny(case, defer=True), tmp_path / "bundle")
    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert len(files) == 9
    for path in files:
        whole = path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert_rejected(bundle, re.escape(path.name))
        path.write_bytes(whole)
    assert inspect_bundle(bundle, verify=True)["verified"]


def test_every_flipped_byte_of_the_manifest_is_found(bundle):
    path = bundle / "bundle.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(UserError, match=r"bundle\.json"):
            inspect_bundle(bundle)


def test_a_missing_or_shortened_file_is_found(tmp_path):
    bundle = save(make_tiny("image-resnet-trunk", defer=True), tmp_path / "bundle")
    for path in [path for path in bundle.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(UserError, match=re.escape(path.name)):
            load_bundle(bundle)
        path.write_bytes(whole[:-1])
        with pytest.raises(UserError, match=re.escape(path.name)):
            load_bundle(bundle)
        path.write_bytes(whole)
    load_bundle(bundle)


def test_a_specialist_is_checked_when_it_is_opened_not_before(bundle):
    path = bundle / "specialists" / "002.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    specialists = load_bundle(bundle).specialists
    _ = specialists[0]
    with pytest.raises(UserError, match=r"002\.safetensors must have the checksum"):
        _ = specialists[2]
    assert load_bundle(bundle, verify=False).specialists[2] is not None


def test_a_file_changed_after_it_was_opened_once_is_found_too(bundle):
    specialists = load_bundle(bundle, max_resident=1).specialists
    _ = specialists[0], specialists[1]
    path = bundle / "specialists" / "000.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    os.utime(path, ns=(1, 1))
    with pytest.raises(UserError, match="checksum"):
        _ = specialists[0]


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "a/../../b", "C:\\b", ".hidden", "a//b", ""])
def test_a_file_name_that_leads_out_of_the_bundle_is_refused(bundle, name):
    def change(manifest):
        manifest["files"][name] = manifest["files"]["router.safetensors"]
        manifest["weights"]["router"] = name

    rewrite(bundle, change)
    assert_rejected(bundle, "plain path inside the bundle")


@pytest.mark.parametrize("version", [2, None, "1"])
def test_another_schema_version_is_refused(bundle, version):
    rewrite(bundle, lambda manifest: manifest.update(schema=version))
    assert_rejected(bundle, "schema version 1, got")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest: manifest.pop("classes"), "classes"),
        (lambda manifest: manifest["domains"].pop(), "num_domains=4"),
        (lambda manifest: manifest["files"].pop("router.safetensors"), "has none"),
        (lambda manifest: manifest["student"].update(wideness=3), "wideness"),
        (lambda manifest: manifest["mixture"].update(num_domains=1), "num_domains"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(bundle, change, words):
    rewrite(bundle, change)
    assert_rejected(bundle, words)


@pytest.mark.parametrize(
    "change", [{"input": {}}, {"transform": {"kind": "tabular"}}, {"student": {"family": "mlp", "width": 9}}]
)
def test_parts_that_do_not_fit_are_refused(bundle, change):
    rewrite(bundle, lambda manifest: manifest.update(change))
    with pytest.raises(UserError, match="make the bundle again"):
        list(load_bundle(bundle).specialists)


@pytest.mark.parametrize(("text", "words"), [("", "JSON"), ("[1]", "object"), ("{}", "schema"), ("[" * 9999, "JSON")])
def test_a_manifest_that_is_none_is_refused(bundle, text, words):
    (bundle / "bundle.json").write_text(text)
    with pytest.raises(UserError, match=words):
        load_bundle(bundle)


def test_a_truncated_manifest_is_refused(bundle):
    path = bundle / "bundle.json"
    text = path.read_text()
    for length in range(0, len(text), 101):
        path.write_text(text[:length])
        with pytest.raises(UserError, match=r"bundle\.json"):
            load_bundle(bundle)


def test_a_path_without_a_bundle_says_what_is_wrong(bundle, tmp_path):
    with pytest.raises(UserError, match="there is nothing at"):
        load_bundle(tmp_path / "nowhere")
    with pytest.raises(UserError, match="give the folder"):
        load_bundle(bundle / "README.md")
    with pytest.raises(UserError, match=f"give {re.escape(str(bundle))}"):
        load_bundle(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has none"):
        load_bundle(tmp_path / "empty")


def test_an_own_factory_is_called_only_on_demand(tmp_path):
    bundle = save(make_tiny("own-factory"), tmp_path / "bundle")
    with pytest.raises(UserError, match=r"tiny_mixtures:small_net.*allow_factory"):
        load_bundle(bundle)
    assert "allow_factory=True" in (bundle / "README.md").read_text(encoding="utf-8")


def test_a_failed_save_leaves_the_old_bundle(bundle, tmp_path, monkeypatch):
    tiny = make_tiny(seed=1)
    expected = make_tiny().mixture.predict_all(tiny.raw)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("moist.mixture.bundle.write_manifest", full)
    with pytest.raises(UserError, match="no space left"):
        save(tiny, bundle)
    monkeypatch.undo()
    assert_same(load_bundle(bundle).predict_all(tiny.raw), expected)
    real = Path.rename

    def rename(self, target):
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="Input/output"):
        save(tiny, bundle)
    monkeypatch.undo()
    assert_same(load_bundle(bundle).predict_all(tiny.raw), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_new_bundle_replaces_the_old_one_whole(tmp_path):
    save(make_tiny("table-mlp-trunk", num_domains=4), tmp_path / "bundle")
    tiny = make_tiny(num_domains=2)
    save(tiny, tmp_path / "bundle", measured={})
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == [
        "README.md",
        "bundle.json",
        "router.safetensors",
        "specialists",
    ]
    assert_same(load_bundle(tmp_path / "bundle").predict_all(tiny.raw), tiny.mixture.predict_all(tiny.raw))
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_interrupted_replacement_is_told(bundle, tmp_path):
    bundle.rename(tmp_path / ".bundle.replaced")
    with pytest.raises(UserError, match=r"interrupted, the old one is .*\.bundle\.replaced: rename it"):
        load_bundle(bundle)


def test_nothing_but_a_bundle_is_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="replaces only another bundle"):
        save(make_tiny(), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    load_bundle(save(make_tiny(), tmp_path / "empty"))


def test_settings_that_do_not_describe_the_mixture_are_refused(tmp_path):
    tiny = make_tiny()
    wider = tiny.student.model_copy(update={"width": 9})
    with pytest.raises(ValueError, match="settings that the mixture was built from"):
        save(tiny, tmp_path / "bundle", student=wider)
    with pytest.raises(ValueError, match="num_domains=5"):
        save(tiny, tmp_path / "bundle", settings=tiny.settings.model_copy(update={"num_domains": 5}))
    tiny.mixture.schema = None
    with pytest.raises(ValueError, match="schema"):
        save(tiny, tmp_path / "bundle")
    lacking = make_tiny(defer=True)
    lacking.mixture.generalist = None
    with pytest.raises(ValueError, match=r"set mixture\.generalist"):
        save(lacking, tmp_path / "bundle")
    assert not any(tmp_path.iterdir())


def test_only_the_specialists_used_last_stay_in_memory(bundle):
    specialists = load_bundle(bundle, max_resident=2).specialists
    assert isinstance(specialists, LazySpecialists)
    assert len(specialists) == 4
    assert specialists.resident == ()
    first = specialists[0]
    _ = specialists[1]
    assert specialists[0] is first
    _ = specialists[2]  # 1 was used longest ago
    assert specialists.resident == (0, 2)
    assert len(list(specialists)) == 4
    assert specialists.resident == (2, 3)
    with pytest.raises(IndexError, match="0 to 3, got 4"):
        _ = specialists[4]
    with pytest.raises(UserError, match="max_resident must be at least 1"):
        load_bundle(bundle, max_resident=0)


def test_specialists_not_asked_for_are_not_opened(bundle):
    tiny = make_tiny()
    loaded = load_bundle(bundle)
    chosen = loaded.predict_all(tiny.raw[:1]).routing.expert_indices.item()
    assert loaded.specialists.resident == (chosen,)


def test_many_threads_share_one_lazy_mixture(bundle):
    tiny = make_tiny()
    expected = tiny.mixture.predict_all(tiny.raw)
    loaded = load_bundle(bundle, max_resident=1)
    wrong = []

    def ask():
        for _ in range(10):
            answer = loaded.predict_all(tiny.raw)
            if not torch.equal(answer.probabilities, expected.probabilities):
                wrong.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(loaded.specialists.resident) == 1


def test_conversions_and_modes_reach_specialists_opened_later(bundle):
    loaded = load_bundle(bundle)
    opened = loaded.specialists[0]
    loaded.double().train()
    for specialist in (opened, loaded.specialists[1]):
        assert specialist.training
        assert next(specialist.parameters()).dtype == torch.float64
    loaded.eval()
    assert not opened.training
    assert not loaded.specialists[3].training


def test_specialists_opened_in_inference_mode_can_be_trained_afterwards(bundle):
    tiny = make_tiny()
    loaded = load_bundle(bundle)
    loaded.predict_all(tiny.raw)
    inputs = loaded.transform.to_tensor(torch.from_numpy(loaded.transform.encode(tiny.raw)))
    loaded(inputs).probabilities.log().sum().backward()
    opened = [loaded.specialists[k] for k in loaded.specialists.resident]
    assert any(parameter.grad is not None for specialist in opened for parameter in specialist.parameters())


def test_a_loaded_mixture_can_be_copied(bundle):
    tiny = make_tiny()
    loaded = load_bundle(bundle, max_resident=1)
    loaded.predict_all(tiny.raw)
    twin = copy.deepcopy(loaded)
    assert twin.specialists.resident == ()
    assert_same(twin.predict_all(tiny.raw), tiny.mixture.predict_all(tiny.raw))


@pytest.mark.usefixtures("bundle")
def test_a_bundle_is_found_after_the_working_folder_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load_bundle("bundle")
    monkeypatch.chdir("/")
    assert len(list(loaded.specialists)) == 4


def test_inference_can_be_changed_after_loading(bundle):
    tiny = make_tiny(top_k="all")
    loaded = load_bundle(bundle)
    loaded.inference = InferenceSettings(top_k="all")
    assert_same(loaded.predict_all(tiny.raw), tiny.mixture.predict_all(tiny.raw))
