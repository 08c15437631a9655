"""Jobs in real processes: order, results kept, death survived, errors passed on."""

import json
import multiprocessing
import os
from itertools import pairwise
from pathlib import Path

import pytest
from interrupting import interrupt_once_started
from training_examples import Digits, LabelTask

from moist.training import Job, JobFailed, JobsSettings, TrainingSettings, fit, run_jobs
from moist.types import UserError

TWO = JobsSettings(workers=2)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.txt"


def run(*jobs, settings=TWO):
    return run_jobs(jobs, settings, quiet=True)


def recording(tmp_path, log, name, after=(), **payload):
    return Job(name, "job_functions:record", {"log": str(log), **payload}, tmp_path / name, after)


def lines(log):
    return log.read_text().splitlines() if log.exists() else []


def test_jobs_wait_for_what_they_read(tmp_path, log):
    results = run(
        recording(tmp_path, log, "last", after=("left", "right")),
        recording(tmp_path, log, "left", sleep=0.1),
        recording(tmp_path, log, "right", after=("left",)),
    )
    assert lines(log) == ["left", "right", "last"]
    assert results["last"].value["started"] >= results["right"].value["ended"]
    assert results["right"].value["started"] >= results["left"].value["ended"]
    assert results["left"].folder == tmp_path / "left"
    assert 0.1 <= results["left"].seconds < 60
    assert all(result.value["pid"] != os.getpid() for result in results.values())


def test_no_more_jobs_at_once_than_workers(tmp_path, log):
    jobs = [recording(tmp_path, log, f"job{n}", sleep=0.1) for n in range(4)]
    results = run(*jobs, settings=JobsSettings(workers=1))
    spans = sorted((result.value["started"], result.value["ended"]) for result in results.values())
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert lines(log) == ["job0", "job1", "job2", "job3"]  # in the order given


def test_finished_jobs_are_not_run_again(tmp_path, log):
    job = recording(tmp_path, log, "once", given=1)
    first, second = run(job), run(job)
    assert lines(log) == ["once"]
    assert first == second
    done = json.loads((tmp_path / "once" / "done.json").read_text())
    assert done["key"] == job.key


def test_another_payload_starts_from_an_empty_folder(tmp_path, log):
    run(recording(tmp_path, log, "job", given=1))
    result = run(recording(tmp_path, log, "job", given=2))["job"]
    assert lines(log) == ["job", "job"]
    assert result.value["given"] == 2
    assert result.value["held"] == ["job.json"]


def test_an_unfinished_job_finds_what_it_left(tmp_path, log):
    job = recording(tmp_path, log, "job")
    run(job)
    (tmp_path / "job" / "done.json").unlink()
    assert run(job)["job"].value["held"] == ["job.json", "left.txt"]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_job_that_is_killed_is_run_again_and_resumes(tmp_path, name):
    task = LabelTask()
    history = fit(task, Digits(), TrainingSettings(epochs=3), seed=3)
    total = sum(float(value.double().sum()) for value in task.state_dict().values())

    result = run(Job("train", "job_training:train", {"signal": name}, tmp_path / "train"))["train"]
    assert result.value["resumed_at"] == 5
    assert result.value["history"] == history
    assert result.value["sum"] == total
    assert not list((tmp_path / "train").glob(".*.partial"))


def test_the_time_of_all_attempts_is_counted(tmp_path):
    job = Job("count", "job_functions:count", {"steps": 100}, tmp_path / "count")
    interrupt_once_started(tmp_path, lambda: run(job))
    spent = json.loads((tmp_path / "count" / "job.json").read_text())["seconds"]
    result = run(job)["count"]
    assert 0 < spent < result.seconds


def test_a_job_that_is_killed_too_often_fails(tmp_path, log):
    job = Job("dying", "job_functions:die", {"log": str(log)}, tmp_path / "dying")
    with pytest.raises(JobFailed, match=r"'dying' was killed 2 times \(exit code -9\).*lower jobs\.workers"):
        run(job, settings=JobsSettings(workers=1, retries=1))
    assert lines(log) == ["dead", "dead"]


def test_an_error_the_user_can_mend_names_the_job(tmp_path):
    with pytest.raises(UserError, match=r"^painting: colour must be red or blue, got green; change it$"):
        run(Job("painting", "job_functions:refuse", {}, tmp_path / "painting"))


def test_any_other_error_comes_with_its_traceback(tmp_path):
    with pytest.raises(JobFailed, match=r"(?s)job 'crashing' failed:.*in crash.*ZeroDivisionError: an error of"):
        run(Job("crashing", "job_functions:crash", {}, tmp_path / "crashing"))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("no_such_module:function", "No module named 'no_such_module'"),
        ("job_functions:no_such_function", "no attribute 'no_such_function'"),
        ("job_functions:return_what_json_cannot_hold", "not JSON compliant"),
    ],
)
def test_jobs_that_cannot_work_fail_at_once(tmp_path, function, message):
    with pytest.raises(JobFailed, match=message):
        run(Job("job", function, {}, tmp_path / "job"))
    assert not (tmp_path / "job" / "done.json").exists()


def test_a_folder_that_cannot_be_made_is_an_error_and_no_death(tmp_path, log):
    (tmp_path / "job").write_text("a file is in the way")
    with pytest.raises(JobFailed, match="NotADirectoryError"):
        run(recording(tmp_path, log, "job"))


def test_a_process_that_ends_by_itself_is_not_tried_again(tmp_path):
    with pytest.raises(JobFailed, match=r"ended without a result \(exit code 3\)"):
        run(Job("leaving", "job_functions:leave", {"code": 3}, tmp_path / "leaving"))


@pytest.mark.parametrize("error", [EOFError("unexpected EOF"), ConnectionResetError("reset by peer")])
def test_a_process_that_cannot_be_started_is_told_of(tmp_path, log, monkeypatch, error):
    def start(process):
        raise error

    process_class = multiprocessing.get_context("forkserver").Process
    monkeypatch.setattr(process_class, "start", start)
    with pytest.raises(JobFailed, match=rf"'job' could not be started.*{error}.*lower jobs\.workers") as caught:
        run(recording(tmp_path, log, "job"))
    assert caught.value.__cause__ is error


def test_workers_keep_to_their_threads(tmp_path):
    for number in (1, 2):  # the second call finds the fork server that the first one started
        job = Job("threads", "job_functions:threads", {}, tmp_path / str(number))
        value = run(job, settings=JobsSettings(workers=1, threads=number))["threads"].value
        assert value["torch"] == number
        assert value["pools"] == [number]


def test_the_environment_is_left_as_it_was(tmp_path, log):
    before = dict(os.environ)
    run(recording(tmp_path, log, "job"))
    assert dict(os.environ) == before


def test_on_ctrl_c_jobs_save_and_a_later_call_goes_on(tmp_path):
    job = Job("count", "job_functions:count", {"steps": 40}, tmp_path / "count")
    interrupt_once_started(tmp_path, lambda: run(job))
    saved = int((tmp_path / "count" / "steps.txt").read_text())
    assert 0 < saved < 40
    assert not alive(tmp_path)

    assert run(job)["count"].value == {"steps": 40, "resumed_at": saved}


def test_when_one_job_fails_the_others_save(tmp_path):
    counting = Job("count", "job_functions:count", {"steps": 100_000}, tmp_path / "count")
    failing = Job("failing", "job_functions:crash", {}, tmp_path / "failing", after=("start",))
    start = Job("start", "job_functions:record", {"log": str(tmp_path / "log"), "sleep": 0.5}, tmp_path / "start")
    with pytest.raises(JobFailed, match="failing"):
        run(counting, start, failing)
    assert int((tmp_path / "count" / "steps.txt").read_text()) > 0
    assert not alive(tmp_path)


def alive(tmp_path):
    """Tell whether the process of a counting job still runs."""
    try:
        os.kill(int((tmp_path / "started.txt").read_text()), 0)
    except ProcessLookupError:
        return False
    return Path("/proc/self").exists()


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([("a", ()), ("a", ())], "different names, got a twice"),
        ([("a", ("b",))], "jobs of the same call, got b"),
        ([("a", ("b",)), ("b", ("a",))], "must not wait for each other"),
    ],
)
def test_jobs_that_have_no_order_are_refused(tmp_path, jobs, message):
    with pytest.raises(ValueError, match=message):
        run(*(Job(name, "job_functions:crash", {}, tmp_path / name, after) for name, after in jobs))


def test_the_settings_refuse_what_makes_no_sense():
    with pytest.raises(ValueError, match="threads"):
        JobsSettings(threads=0)
