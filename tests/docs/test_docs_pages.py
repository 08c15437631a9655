"""What the pages say is true: commands parse, settings load, links lead somewhere, generated parts are current."""

import re
import shlex

import pytest
import yaml
from docs_pages import PAGES, PROJECT, all_blocks

from moist.cli.arguments import create_parser
from moist.config import load_config
from moist.experiments import RECIPES
from moist.recipes import DistillSettings, shipped_configs

WHOLE = {
    "data": {"name": "digits"},
    "teacher": {"kind": "sklearn", "estimator": "sklearn.svm.SVC"},
    "student": {"family": "mlp"},
}
COMMANDS = [
    command for block in all_blocks("bash") for command in block.commands if command.lstrip().startswith("moist ")
]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#([^)\s]+))?\)")


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_commands_are_understood(command):
    arguments = create_parser().parse_args(shlex.split(command)[1:])
    if getattr(arguments, "config", None) in shipped_configs():
        load_config(DistillSettings, shipped_configs()[arguments.config], arguments.overrides)


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=lambda block: f"{block.page}: {block.text[:30]}")
def test_settings_load(block):
    load_config(DistillSettings, {**WHOLE, **yaml.safe_load(block.text)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        file = page.parent / target
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.M)
            assert anchor in [title.lower().replace(" ", "-") for title in titles]


@pytest.mark.parametrize(
    "path", [*shipped_configs().values(), *sorted((PROJECT / "examples").rglob("*.yaml"))], ids=str
)
def test_configurations_load(path):
    load_config(DistillSettings, path)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_have_a_configuration_that_loads_on_a_small_budget(name):
    recipe = RECIPES[name]
    load_config(DistillSettings, shipped_configs()[recipe.config], recipe.small)


def test_the_reference_of_settings_is_current(script):
    page = (PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == script("configuration_reference").render(), "run scripts/configuration_reference.py"


def test_the_changelog_has_the_current_version(script):
    version = re.search(r'^version = "(.*)"$', (PROJECT / "pyproject.toml").read_text(), flags=re.M).group(1)
    assert version in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
