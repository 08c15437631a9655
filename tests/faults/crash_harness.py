"""Kill ``moist distill`` and ``moist export`` again and again, let them go on, and compare what they leave in the end.

Two kinds of death, both by SIGKILL to the command and all its workers at once:

- before the n-th change that the run makes to the disk, n by chance: fsync, rename, deletion, new folder; so the short
  moments between two states of the disk are met as often as the long ones;
- at a random time.

After each death the same command goes on; when it ends by itself its bundle is compared byte for byte, and the next
round begins in an empty folder. The command runs in a fork of this process, which has the libraries loaded: two hundred
deaths then take minutes instead of hours. The workers are forks too. The
report is a stand-in: drawing it takes longer than all the rest, and it is one file that is written whole.

    python tests/faults/crash_harness.py --deaths 200
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import multiprocessing
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sklearn.datasets
import sklearn.naive_bayes
import torch._dynamo
import yaml

# Not all of these are used here: they are loaded once, before the forks.
import moist.cli.export
import moist.cli.recipes
import moist.recipes.train
from moist.cli import main as moist_command
from moist.storage import file_sha256, write_atomic

LOADED = (
    sklearn.datasets,
    sklearn.naive_bayes,
    torch._dynamo,
    moist.cli.export,
    moist.cli.recipes,
    moist.recipes.train,
)

CONFIG = {
    "data": {"name": "digits", "limit": 120},
    "teacher": {"kind": "sklearn", "estimator": "sklearn.naive_bayes.GaussianNB"},
    "student": {"family": "mlp", "width": 3},
    "mixture": {"num_domains": 2, "method": "random"},
    "training": {"epochs": 2, "batch_size": 64},
    "controls": {"enabled": False},
    "jobs": {"workers": 2, "retries": 0},
}
# What changes the disk, as far as Python does it.
CALLS = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir")
LONGEST = 120.0
MANY = 10**9
# What differs between any two runs: a measured latency, and the checksums of manifests that hold it.
TIMED = ("latency_ms", "sha256", "bundle_sha256")
AT_CHANGE, AT_TIME = "at a change of the disk", "at a random time"


@dataclass
class Tally:
    """What happened: deaths by kind, whole runs, and bundles that differed."""

    deaths: dict[str, int] = field(default_factory=lambda: {AT_CHANGE: 0, AT_TIME: 0})
    completed: int = 0
    different: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.deaths.values())


class Countdown:
    """A number that the command and its forked workers share; whoever takes it to zero kills them all."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def set(self, changes: int) -> None:
        self._memory[:] = struct.pack("q", changes)

    @property
    def left(self) -> int:
        return int(struct.unpack("q", self._memory[:])[0])

    def tick(self) -> None:
        left = self.left
        if left > 0:
            self.set(left - 1)
            if left == 1:
                os.killpg(0, signal.SIGKILL)


def counted(call: Callable[..., Any], countdown: Countdown) -> Callable[..., Any]:
    def counting(*arguments: Any, **options: Any) -> Any:
        countdown.tick()
        return call(*arguments, **options)

    return counting


def run_command(arguments: list[str], countdown: Countdown) -> int:
    """Fork, become the leader of a group, and run one command there; returns the child's process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name), countdown))
        sys.modules["moist.recipes.distill"].write_report = plain_report
        multiprocessing.get_all_start_methods = lambda: ["fork"]
        multiprocessing.get_context = forking_context
        code = moist_command(arguments)
    finally:
        os._exit(code)


def plain_report(_: object, __: object, path: Path) -> None:
    write_atomic(path, lambda partial: partial.write_text("a report"))


def forking_context(_: str | None = None) -> Any:
    return multiprocessing.context._concrete_contexts["fork"]


def wait(child: int, seconds: float) -> int | None:
    """Wait for a child; returns its exit code, negative for a signal, or None where it still runs."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            wait_for_workers(child)
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.002)


def kill(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # it leads no group yet
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for_workers(child)


def wait_for_workers(group: int) -> None:
    """Wait until the workers are gone too: as forks they hold the lock of the run's folder until then."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.005)


def contents(bundle: Path) -> dict[str, Any]:
    """Return the checksum of every file of a bundle, and of its manifests all but the measured times and their seal."""
    files: dict[str, Any] = {
        str(path.relative_to(bundle)): file_sha256(path) for path in sorted(bundle.rglob("*")) if path.is_file()
    }
    return files | {name: timeless(json.loads((bundle / name).read_text())) for name in files if name.endswith(".json")}


def timeless(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: timeless(part) for key, part in value.items() if key not in TIMED}


class Harness:
    """Runs ``distill`` and then ``export`` of one configuration to death, in a folder of its own.

    Args:
        folder: empty, for everything.
        seed: of the moments of death.
        steps: how many of the two commands a run has.
        output: told how far it is.
    """

    def __init__(self, folder: Path, seed: int, steps: int = 2, output: Callable[[str], object] = print) -> None:
        self.folder, self.random, self.output = folder, random.Random(seed), output
        self.countdown, self.tally = Countdown(), Tally()
        self.out = folder / "run"
        (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
        os.environ["MOIST_CACHE"] = str(folder / "cache")
        self.commands = [
            ["distill", str(folder / "config.yaml"), "--out", str(self.out), "--quiet", "--json"],
            ["export", str(self.out / "bundle"), "--quiet", "--json"],
        ][:steps]
        self.step = 0
        self.seconds, self.changes = [], []
        for _ in self.commands:
            self.measure()
        self.expected = contents(self.out / "bundle")
        self.clear()

    def measure(self) -> None:
        """Run one step undisturbed, and note its time and its changes of the disk."""
        started = time.monotonic()
        self.finish(self.start(changes=MANY))
        self.seconds.append(time.monotonic() - started)
        self.changes.append(MANY - self.countdown.left)
        self.step += 1

    def clear(self) -> None:
        """Begin anew."""
        self.step = 0
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def start(self, changes: int = 0) -> int:
        self.countdown.set(changes)
        return run_command(self.commands[self.step], self.countdown)

    def wait(self, child: int) -> int | None:
        """Let a command end by itself, and return its exit code."""
        code = wait(child, LONGEST)
        if code is None:
            kill(child)
        return code

    def finish(self, child: int) -> None:
        """Let a command end by itself, which it must do with success."""
        code = self.wait(child)
        if code != 0:
            raise AssertionError(f"a run that was not killed must end with 0, got {code}; deaths: {self.tally}")

    def finish_run(self) -> None:
        """Let what is left of a run happen undisturbed, and compare."""
        while not self.next_step():
            pass

    def next_step(self) -> bool:
        self.finish(self.start())
        return self.advance()

    def advance(self) -> bool:
        """Go on to the next step; after the last one compare, and begin anew; tells whether it was the last one."""
        self.step += 1
        if self.step < len(self.commands):
            return False
        self.tally.completed += 1
        if contents(self.out / "bundle") != self.expected:
            self.tally.different.append(f"after {self.tally.deaths}")
        self.clear()
        return True

    def die_at_a_change(self) -> bool:
        """Kill before any of the changes that the step makes; one that goes on has fewer to make, so some end."""
        code = wait(self.start(changes=self.random.randint(1, self.changes[self.step])), LONGEST)
        return self.conclude(code, code == -signal.SIGKILL)

    def die_at_a_time(self) -> bool:
        """Kill at a random moment of the time that the step takes."""
        child = self.start()
        code = wait(child, self.random.uniform(0.0, self.seconds[self.step]))
        if code is None:
            kill(child)
        return self.conclude(code, code is None)

    def conclude(self, code: int | None, died: bool) -> bool:
        if died:
            return True
        if code != 0:
            raise AssertionError(f"a killed run must go on, got exit code {code} after {self.tally}")
        self.advance()
        return False

    def die(self, deaths: int) -> Tally:
        """Die at least ``deaths`` times, half of them at changes of the disk, and let the last run of each kind end."""
        for method, kind in ((self.die_at_a_change, AT_CHANGE), (self.die_at_a_time, AT_TIME)):
            while self.tally.deaths[kind] < deaths / 2:
                self.tally.deaths[kind] += method()
                self.output(f"{self.tally.total} deaths, {self.tally.completed} runs completed")
            self.finish_run()
        return self.tally


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="moist-crash-") as folder:
        yield Path(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deaths", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    with own_folder() as folder:
        tally = Harness(folder, options.seed).die(options.deaths)
    print(f"{tally} in {time.monotonic() - started:.0f} s")
    return 1 if tally.different else 0


if __name__ == "__main__":
    sys.exit(main())
