"""Functions for jobs to call, in a module that worker processes can import."""

import os
import signal
import sys
import time
from pathlib import Path

import torch
from threadpoolctl import threadpool_info
from training_examples import Digits, LabelTask

from moist.training import TrainingSettings, fit
from moist.types import UserError

STEP_SECONDS = 0.02


def record(payload, folder, advance):
    """Note when it ran, what it was given, and what its folder held."""
    started = time.time()
    held = sorted(path.name for path in folder.iterdir())
    (folder / "left.txt").write_text("left by an earlier run")
    with Path(payload["log"]).open("a") as log:
        log.write(f"{folder.name}\n")
    time.sleep(payload.get("sleep", 0))
    advance(1, "done", total=1)
    return {"started": started, "ended": time.time(), "held": held, "given": payload.get("given"), "pid": os.getpid()}


def threads(payload, folder, advance):
    """Tell how many threads every library of the process may use."""
    pools = {pool["num_threads"] for pool in threadpool_info()}
    return {"torch": torch.get_num_threads(), "pools": sorted(pools), "omp": os.environ["OMP_NUM_THREADS"]}


def refuse(payload, folder, advance):
    raise UserError("colour must be red or blue, got green; change it")


def crash(payload, folder, advance):
    raise ZeroDivisionError("an error of the programmer")


def return_what_json_cannot_hold(payload, folder, advance):
    return {"value": float("nan")}


def leave(payload, folder, advance):
    os._exit(payload["code"])


def die(payload, folder, advance):
    """Be killed, as by the system when memory runs out, at every attempt."""
    with Path(payload["log"]).open("a") as log:
        log.write("dead\n")
    os.kill(os.getpid(), signal.SIGKILL)


def train(payload, folder, advance):
    """Train a student; on the first attempt be ended by ``payload["signal"]`` after five steps."""
    first = not (folder / "checkpoint.pt").exists()
    settings, task = TrainingSettings(epochs=3), LabelTask()
    where = {"seed": 3, "checkpoint": folder / "checkpoint.pt"}
    if first and payload["signal"] == "SIGKILL":
        fit(task, Digits(), settings, **where, max_steps=5)
        (folder / ".model.1.partial").write_bytes(b"half of a file")
        os.kill(os.getpid(), signal.SIGKILL)
    if first and payload["signal"] == "SIGTERM":
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)
    begun = []

    def tell(steps=1, note="", total=None):
        begun.append(steps)
        advance(steps, note, total=total)

    history = fit(task, Digits(), settings, **where, advance=tell)
    total = sum(float(value.double().sum()) for value in task.state_dict().values())
    return {"history": history, "sum": total, "resumed_at": begun[0]}


def count(payload, folder, advance):
    """Count steps for a long time, in a file that is written only when told to stop."""
    saved = folder / "steps.txt"
    done = int(saved.read_text()) if saved.exists() else 0
    resumed_at = done
    advance(done, total=payload["steps"])
    (folder.parent / "started.txt").write_text(str(os.getpid()))
    while done < payload["steps"]:
        time.sleep(payload.get("seconds", STEP_SECONDS))
        done += 1
        try:
            advance(1)
        except SystemExit:
            saved.write_text(str(done))
            raise
    return {"steps": done, "resumed_at": resumed_at}


if __name__ == "__main__":
    # A process of its own, for tests that end it from outside: job_functions.py FOLDER
    from moist.training import Job, JobsSettings, run_jobs

    place = Path(sys.argv[1])
    job = Job("count", "job_functions:count", {"steps": 100_000}, place / "count")
    run_jobs([job], JobsSettings(workers=1), quiet=True)
