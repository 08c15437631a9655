import torch

from moist.data import DataSettings, load_dataset
from moist.teachers import cache_teacher
from moist.types import TeacherSignal


def test_inspect_shows_what_is_inside(digits_bundle, run, run_json):
    code, out, err = run("inspect", digits_bundle)
    assert (code, err) == (0, "")
    for words in (
        "images 8×8×1",
        "10: 0, 1, 2",
        "joint, 3 specialists",
        "domain 2",
        "25.0%",
        "student_same_cost",
        "40.00%",
    ):
        assert words in out
    assert "specialists/002.safetensors" in out
    assert "--verify checks" in out
    facts = run_json("inspect", digits_bundle)
    assert facts["num_domains"] == 3
    assert facts["verified"] is False


def test_inspect_names_the_generalist_and_when_it_is_asked(text_bundle, run):
    _, out, _ = run("inspect", text_bundle)
    assert "defers to the generalist under 2.000" in out
    assert "generalist.safetensors" in out


def test_verify_finds_a_flipped_bit(digits_bundle, run):
    assert "every checksum is right" in run("inspect", digits_bundle, "--verify")[1]
    path = digits_bundle / "specialists" / "001.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert run("inspect", digits_bundle)[0] == 0
    code, out, err = run("inspect", digits_bundle, "--verify")
    assert (code, out) == (2, "")
    assert "001.safetensors must have the checksum" in err
    assert err.count("\n") == 1


def test_a_folder_that_is_no_bundle_is_an_error(tmp_path, run):
    code, out, err = run("inspect", tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert err.startswith("moist: error: a bundle is a folder with a bundle.json, there is nothing at")


def test_a_signal_cache_is_shown_and_checked(run, run_json, tmp_path):
    digits = load_dataset(DataSettings(name="digits", limit=60), tmp_path / "cache", quiet=True).validation
    teacher = fit_nothing(digits)
    path = cache_teacher(teacher, digits, [0], cache_dir=tmp_path, quiet=True).path
    facts = run_json("inspect", path, "--verify")
    assert (facts["num_rows"], facts["views"], facts["verified"]) == (len(digits), [0], True)
    code, out, _ = run("inspect", path)
    assert code == 0
    assert "nothing" in out
    shard = next(path.rglob("*.npy"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"\xff")
    assert run("inspect", path)[0] == 0
    code, _, err = run("inspect", path, "--verify")
    assert code == 2
    assert "is damaged" in err


def fit_nothing(dataset):
    """A teacher that says the same of everything."""

    class Nothing:
        name, key, classes, num_params = "nothing", "nothing", dataset.classes, 0

        def signal(self, inputs):
            return TeacherSignal(torch.zeros(len(inputs), len(dataset.classes)))

        def macs(self, inputs):
            return 0.0

    return Nothing()
