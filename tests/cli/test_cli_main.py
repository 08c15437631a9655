import errno
import os
import subprocess
import sys
import types
from importlib.metadata import requires

import pytest

import moist.cli
from moist.cli.arguments import create_parser
from moist.types import UserError

COMMANDS = ["distill", "evaluate", "predict", "inspect", "reproduce", "data list"]


def start(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "moist", *arguments], capture_output=True, text=True, **options)


@pytest.fixture
def failing(monkeypatch, run):
    """Let ``moist data list`` raise an error."""

    def call(error):
        def fail(_):
            raise error

        monkeypatch.setitem(sys.modules, "moist.cli.data", types.SimpleNamespace(run_list=fail))
        return run("data", "list")

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, run):
    code, out, _ = run(*command.split(), "--help")
    assert code == 0
    assert "examples:\n  " in out
    assert f"moist {command}" in out.partition("examples:")[2]


def test_help_lists_the_commands_and_loads_nothing_heavy():
    code = (
        "import sys\nfrom moist.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'pydantic', 'yaml'} & set(sys.modules), sorted(sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert all(command.split()[0] in answer.stdout for command in COMMANDS)


def test_a_missing_package_is_named_with_its_extra(failing):
    code, _, error = failing(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert code == 2
    assert "needs the package torch, which is not installed; run: pip install 'moist[train]'" in error


def test_a_missing_module_of_our_own_is_a_bug(failing):
    with pytest.raises(ModuleNotFoundError):
        failing(ModuleNotFoundError("No module named 'moist.nothing'", name="moist.nothing"))


def test_by_itself_the_package_needs_numpy_alone():
    plain = [requirement for requirement in requires("moist") if "extra ==" not in requirement]
    assert [requirement.partition(">")[0] for requirement in plain] == ["numpy"]


def test_the_version_is_printed(run):
    code, out, _ = run("--version")
    assert code == 0
    assert out.strip() == f"moist {moist.__version__}"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["predict"],
        ["predict", "x", "y", "--top", "0"],
        ["evaluate", "x", "--top-k", "many"],
        ["data"],
    ],
)
def test_a_wrong_call_is_one_line_and_code_2(arguments, run):
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("moist: error: ")
    assert err.count("\n") == 1
    assert "--help" in err


def test_a_users_error_is_one_line_and_code_2(failing):
    assert failing(UserError("the rule,\n  the value")) == (2, "", "moist: error: the rule, the value\n")


@pytest.mark.parametrize("kind", [FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError])
def test_a_path_that_cannot_be_used_is_one_line_and_code_2(failing, kind):
    code, _, err = failing(kind(errno.EACCES, "Permission denied", "/some/where"))
    assert code == 2
    assert err == "moist: error: Permission denied: /some/where; check the path\n"


@pytest.mark.parametrize(
    "error", [ValueError("a mistake of ours"), RuntimeError("another"), FileNotFoundError("no name")]
)
def test_our_own_mistakes_keep_their_traceback(failing, error):
    with pytest.raises(type(error)):
        failing(error)


def test_ctrl_c_is_code_130_and_says_how_to_go_on(failing, monkeypatch, run):
    code, _, err = failing(KeyboardInterrupt())
    assert code == 130
    assert err == "moist: interrupted; nothing was changed: run the same command again\n"

    def interrupt(_):
        raise KeyboardInterrupt

    fake = types.SimpleNamespace(run_distill=interrupt, run_experiment=interrupt)
    monkeypatch.setitem(sys.modules, "moist.cli.recipes", fake)
    for command in ("distill", "reproduce"):
        code, _, err = run(command, "digits")
        assert code == 130
        assert "state is saved: run the same command again" in err
        assert err.count("\n") == 1


def test_python_dash_m_works_and_nobody_reading_is_no_error():
    answer = start("data", "list")
    assert answer.returncode == 0
    assert "digits" in answer.stdout
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-m", "moist", "data", "list"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 141
    assert err == ""


def test_a_broken_pipe_elsewhere_is_not_hidden(failing):
    with pytest.raises(BrokenPipeError):
        failing(BrokenPipeError(errno.EPIPE, "a worker is gone"))


def test_every_command_names_a_function_that_exists():
    import importlib

    calls = [
        ["distill", "x"],
        ["reproduce"],
        ["evaluate", "x"],
        ["predict", "x", "y"],
        ["inspect", "x"],
        ["data", "list"],
    ]
    for call in calls:
        module, _, function = create_parser().parse_args(call).run.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
