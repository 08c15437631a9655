"""A job that trains, apart from the others because what it imports takes a while."""

import os
import signal

from training_examples import Digits, LabelTask

from moist.training import TrainingSettings, fit


def train(payload, folder, advance):
    """Train a student; on the first attempt be ended by ``payload["signal"]`` after five steps."""
    first = not (folder / "checkpoint.pt").exists()
    settings, task = TrainingSettings(epochs=3), LabelTask()
    where = {"seed": 3, "checkpoint": folder / "checkpoint.pt"}
    if first and payload["signal"] == "SIGKILL":
        fit(task, Digits(), settings, **where, max_steps=5)
        (folder / ".model.1.partial").write_bytes(b"half of a file")
        os.kill(os.getpid(), signal.SIGKILL)
    begun = []

    def tell(steps=1, note="", total=None):
        begun.append(steps)
        if first and payload["signal"] == "SIGTERM" and len(begun) == 6:  # the start, and five steps
            os.kill(os.getpid(), signal.SIGTERM)
        advance(steps, note, total=total)

    history = fit(task, Digits(), settings, **where, advance=tell)
    total = sum(float(value.double().sum()) for value in task.state_dict().values())
    return {"history": history, "sum": total, "resumed_at": begun[0]}
