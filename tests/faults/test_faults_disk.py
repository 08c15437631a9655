"""A full disk is one clear line; nothing is corrupted, and with space the run goes on to the same bundle."""

import errno
import os
import subprocess
import sys

import pytest
from crash_harness import Harness

from moist.errors import UserError
from moist.mixture import inspect_bundle, load_bundle, save_bundle
from moist.storage import write_atomic

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="disks of POSIX")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, in memory, whose size can be set."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def resize(size, *more):
        options = ",".join([*more, f"size={size}"])
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = resize("16m")
    if done.returncode:
        pytest.skip(f"needs the right to mount a file system: {done.stderr.strip()}")
    yield folder, lambda size: resize(size, "remount")
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_run_on_a_full_disk_says_so_and_goes_on_with_space(small_disk, capfd):
    folder, resize = small_disk
    harness = Harness(folder, seed=0, steps=1)
    full = 0
    for kilobytes in (8, 16, 24, 40, 64, 96, 140, 200):
        assert resize(f"{kilobytes}k").returncode == 0
        capfd.readouterr()
        code = harness.wait(harness.start())
        said = capfd.readouterr().err
        assert code in (0, 2), said
        if code == 2:
            full += 1
            assert "no space left on the disk" in said
            assert said.startswith("moist: error: "), said
            assert said.count("\n") == 1, said
            assert not list(folder.rglob("*.partial"))
    assert full >= 3
    resize("16m")
    harness.finish_run()
    assert harness.tally.completed == 1
    assert harness.tally.different == []


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_bundle_that_does_not_fit_leaves_the_old_one(digits_bundle, monkeypatch, call):
    before = inspect_bundle(digits_bundle, verify=True)
    mixture = load_bundle(digits_bundle)
    list(mixture.specialists)
    manifest = before["student"], before["mixture"]

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(UserError, match="no space left on the disk"):
        save_again(mixture, digits_bundle, *manifest)
    monkeypatch.undo()
    assert inspect_bundle(digits_bundle, verify=True) == before
    assert [path.name for path in digits_bundle.parent.iterdir() if path.name.startswith(".")] == []


def save_again(mixture, path, student, settings):
    from moist.mixture import MixtureSettings
    from moist.students import StudentSettings

    save_bundle(
        mixture,
        path,
        student=StudentSettings.model_validate(student),
        settings=MixtureSettings.model_validate(settings),
        measured={},
    )


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at inline_container.cc:820] . PytorchStreamWriter failed: No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_libraries_that_say_it_in_their_own_words_are_understood(tmp_path, error):
    def write(_):
        raise error

    with pytest.raises(UserError, match="no space left on the disk"):
        write_atomic(tmp_path / "file", write)
    assert list(tmp_path.iterdir()) == []
