def test_the_built_in_data_sets_are_listed(run, run_json, monkeypatch, tmp_path):
    monkeypatch.setenv("MOIST_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    code, out, _ = run("data", "list")
    assert code == 0
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines() if line.strip()}
    assert lines["digits"] == ["vision", "embedded"]
    assert lines["mnist"] == ["vision", str(tmp_path / "mnist")]
    assert lines["letter"] == ["tabular", "not found"]
    assert "MOIST_DATA" in out
    found = run_json("data", "list")
    assert found["root"] == str(tmp_path)
    assert {"name": "letter", "kind": "tabular", "where": None} in found["datasets"]
