"""Jobs on a real Ray: the results of local processes, deaths survived, errors passed on."""

import os
import sys

import pytest
from interrupting import interrupt_once_started
from training_examples import Digits, LabelTask

from moist.training import Job, JobFailed, JobsSettings, TrainingSettings, fit, run_jobs
from moist.types import UserError

ON_RAY = JobsSettings(backend="ray", workers=2)


def test_without_ray_an_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "moist.training.ray_pool", raising=False)
    with pytest.raises(UserError, match=r'pip install "moist\[ray\]"'):
        run(Job("job", "job_functions:crash", {}, tmp_path / "job"))


@pytest.fixture(scope="module")
def ray():
    """Ray itself; the pool starts the cluster, which ends with this file."""
    module = pytest.importorskip("ray", reason='needs Ray: pip install "moist[ray]"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "local")  # a new one, whatever runs on this machine
        yield module
    module.shutdown()


def run(*jobs, settings=ON_RAY):
    return run_jobs(jobs, settings, quiet=True)


def test_jobs_run_in_order_with_their_threads_and_are_not_run_again(ray, tmp_path):
    log = tmp_path / "log.txt"
    jobs = [
        Job("last", "job_functions:record", {"log": str(log)}, tmp_path / "last", ("first",)),
        Job("first", "job_functions:record", {"log": str(log), "sleep": 0.1}, tmp_path / "first"),
        Job("threads", "job_functions:threads", {}, tmp_path / "threads"),
    ]
    results = run(*jobs)
    assert log.read_text().splitlines() == ["first", "last"]
    assert results["first"].value["pid"] != os.getpid()
    assert results["threads"].value == {"torch": 1, "pools": [1], "omp": "1"}
    assert run(*jobs, settings=JobsSettings(workers=1)) == results  # local processes find them done


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_killed_worker_is_replaced_and_the_job_resumes(ray, tmp_path, name):
    task = LabelTask()
    history = fit(task, Digits(), TrainingSettings(epochs=3), seed=3)
    total = sum(float(value.double().sum()) for value in task.state_dict().values())

    result = run(Job("train", "job_training:train", {"signal": name}, tmp_path / "train"))["train"]
    assert result.value == {"resumed_at": 5, "history": history, "sum": total}
    assert not list((tmp_path / "train").glob(".*.partial"))


def test_a_job_that_is_killed_too_often_fails(ray, tmp_path):
    job = Job("dying", "job_functions:die", {"log": str(tmp_path / "log")}, tmp_path / "dying")
    with pytest.raises(JobFailed, match=r"'dying' was killed 2 times \(WorkerCrashedError\)"):
        run(job, settings=JobsSettings(backend="ray", retries=1))
    assert (tmp_path / "log").read_text().splitlines() == ["dead", "dead"]


def test_errors_are_those_of_local_processes(ray, tmp_path):
    with pytest.raises(UserError, match=r"^painting: colour must be red or blue, got green; change it$"):
        run(Job("painting", "job_functions:refuse", {}, tmp_path / "painting"))
    with pytest.raises(JobFailed, match=r"(?s)job 'crashing' failed:.*in crash.*ZeroDivisionError: an error of"):
        run(Job("crashing", "job_functions:crash", {}, tmp_path / "crashing"))


def test_a_folder_that_the_driver_cannot_see_is_told_of(ray, tmp_path, monkeypatch):
    monkeypatch.setattr("moist.training.ray_pool.finished", lambda job: None)
    monkeypatch.setattr("moist.training.ray_pool.LAG_SECONDS", 0.2)
    with pytest.raises(UserError, match="threads: every node of the Ray cluster must see the run's folder"):
        run(Job("threads", "job_functions:threads", {}, tmp_path / "threads"))


def test_pools_of_a_session_share_a_board_and_each_has_its_own_news_and_stop(ray):
    from moist.training.ray_pool import RayPool

    first, second = RayPool(ON_RAY), RayPool(ON_RAY)
    board = first._board
    assert second._board is board
    for pool in (first, second):
        assert not ray.get(board.tell.remote(pool._name, "job", (pool._name,)))
    assert ray.get(board.take.remote(first._name)) == {"job": (first._name,)}
    first.stop()
    assert ray.get(board.tell.remote(first._name, "job", ("late",)))
    assert not ray.get(board.tell.remote(second._name, "job", ("on",)))
    assert ray.get(board.take.remote(first._name)) == {}
    assert ray.get(board.take.remote(second._name)) == {"job": ("on",)}


def test_on_ctrl_c_jobs_save_and_a_later_call_goes_on(ray, tmp_path):
    job = Job("count", "job_functions:count", {"steps": 60}, tmp_path / "count")
    interrupt_once_started(tmp_path, lambda: run(job))
    saved = int((tmp_path / "count" / "steps.txt").read_text())
    assert 0 < saved < 60
    assert run(job)["count"].value == {"steps": 60, "resumed_at": saved}
