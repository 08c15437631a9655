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
