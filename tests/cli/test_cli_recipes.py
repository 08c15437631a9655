import json
from pathlib import Path

import pytest
import yaml

from moist import recipes
from moist.config import Settings, load_config

METRICS = {"name": "tiny", "verdict": "No clear difference.", "systems": {}}


class TinySettings(Settings):
    name: str = "distill"
    seed: int = 0


@pytest.fixture
def calls(monkeypatch):
    """Recipes that only note how they were called."""
    noted = []

    def distill(settings, out, *, quiet=False):
        noted.append(("distill", settings, out, quiet))
        return METRICS

    def reproduce(name, **options):
        noted.append(("reproduce", name, options))
        return METRICS

    monkeypatch.setattr(recipes, "DistillSettings", TinySettings)
    monkeypatch.setattr(recipes, "distill", distill)
    monkeypatch.setattr(recipes, "reproduce", reproduce)
    monkeypatch.setattr("moist.cli.experiments.experiments", lambda: {"letter": "26 letters"})
    monkeypatch.setattr(recipes, "format_table", lambda metrics: f"table of {metrics['name']}")
    return noted


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"seed": 3}))
    return path


def test_distill_reads_the_file_and_prints_table_and_verdict(calls, config, run):
    code, out, err = run("distill", config, "--set", "seed=4", "--out", "somewhere")
    assert code == 0
    assert out == "table of tiny\n\nNo clear difference.\n"
    assert "report: somewhere/report.html" in err
    assert calls == [("distill", TinySettings(seed=4), Path("somewhere"), False)]


def test_the_run_is_named_by_its_configuration(calls, config, run):
    run("distill", config, "--quiet")
    config.write_text(yaml.safe_dump({"name": "other"}))
    run("distill", config, "--quiet")
    assert [call[2] for call in calls] == [Path("runs/mine"), Path("runs/other")]
    assert [call[3] for call in calls] == [True, True]


@pytest.mark.usefixtures("calls")
def test_json_is_the_metrics_and_nothing_else(config, run_json):
    assert run_json("distill", config, "--out", "x") == METRICS
    assert run_json("reproduce", "letter") == METRICS


def test_a_configuration_that_is_not_there_is_an_error(calls, config, run):
    code, _, err = run("distill", "nonsense")
    assert code == 2
    assert "CONFIG must be a YAML file or the name of a configuration that comes with moist, got 'nonsense'" in err
    code, _, err = run("distill", "nowhere.yaml")
    assert code == 2
    assert "'nowhere.yaml'" in err
    code, _, err = run("distill", config, "--set", "sed=1")
    assert code == 2
    assert "Did you mean 'seed'?" in err
    assert not calls


def test_every_shipped_configuration_can_be_read():
    shipped = recipes.shipped_configs()
    assert "digits" in shipped
    for name in shipped:
        assert load_config(recipes.DistillSettings, recipes.find_config(name))


def test_reproduce_passes_its_options_on(calls, run):
    run("reproduce", "letter", "--budget", "small", "--seeds", "2", "--out", "r", "--set", "a.b=c", "--quiet")
    run("reproduce", "letter")
    small = {"budget": "small", "seeds": 2, "results_dir": Path("r"), "overrides": ["a.b=c"], "quiet": True}
    full = {"budget": "full", "seeds": None, "results_dir": Path("results"), "overrides": [], "quiet": False}
    assert calls == [("reproduce", "letter", small), ("reproduce", "letter", full)]


def test_reproduce_names_the_nearest(calls, run):
    code, _, err = run("reproduce", "leter")
    assert code == 2
    assert "Did you mean 'letter'?" in err
    assert run("reproduce")[0] == 2
    assert not calls


@pytest.mark.usefixtures("calls")
def test_metrics_without_a_verdict_are_printed_too(config, run, monkeypatch):
    monkeypatch.setattr(recipes, "distill", lambda *_, **__: json.loads('{"name": "bare"}'))
    assert run("distill", config, "--quiet") == (0, "table of bare\n", "")
