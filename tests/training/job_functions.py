"""Functions for jobs to call, in a module that worker processes can import."""

import os
import signal
import sys
import time
from pathlib import Path

import torch
from threadpoolctl import threadpool_info

from moist.training import Job, JobsSettings, run_jobs
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
    place = Path(sys.argv[1])
    job = Job("count", "job_functions:count", {"steps": 100_000}, place / "count")
    run_jobs([job], JobsSettings(workers=1), quiet=True)
