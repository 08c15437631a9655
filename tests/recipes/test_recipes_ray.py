"""The main job on Ray: the bundle of local processes to the bit, also when a worker and a node are killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moist.recipes import DistillSettings, distill
from moist.storage import file_sha256, read_json

ray = pytest.importorskip("ray", reason='needs Ray: pip install "moist[ray]"')
psutil = pytest.importorskip("psutil", reason="needs psutil, to find the workers of a node")

pytestmark = pytest.mark.slow
Digits = Callable[..., DistillSettings]
SMALL = {
    "controls": {"max_epochs": 60, "frontier": []},
    "training": {"epochs": 60, "batch_size": 16, "learning_rate": 0.01},
}


@pytest.fixture
def three_nodes() -> Iterator[Any]:
    """A cluster of three nodes with one CPU each; the driver is on the first."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def content(bundle: Path) -> dict[str, Any]:
    """Return the hash of every file, and the manifest without the measured milliseconds and its own hash."""
    manifest = read_json(bundle / "bundle.json")
    del manifest["sha256"]
    for system in manifest["measured"].values():
        system.pop("latency_ms", None)
    files = [path for path in sorted(bundle.rglob("*")) if path.is_file() and path.name != "bundle.json"]
    return {"manifest": manifest, **{str(path.relative_to(bundle)): file_sha256(path) for path in files}}


def workers_of(node: Any) -> list[Any]:
    """Return the node's processes that work on a job now."""
    (raylet,) = node.all_processes["raylet"]
    children = psutil.Process(raylet.process.pid).children(recursive=True)
    return [child for child in children if any("ray::_work" in part for part in child.cmdline())]


def strike(cluster: Any, jobs: Path, struck: list[str]) -> None:
    """Once a job is done, kill a worker, then a whole node, each while it works on another."""
    first, second = cluster.worker_nodes  # not the driver's
    while not list(jobs.rglob("done.json")):
        time.sleep(0.02)
    while not (busy := workers_of(first)):
        time.sleep(0.02)
    busy[0].kill()
    struck.append("worker")
    time.sleep(1)
    while not workers_of(second):
        time.sleep(0.02)
    cluster.remove_node(second, allow_graceful=False)
    struck.append("node")


def test_a_worker_and_a_node_are_killed_and_nothing_is_lost(
    digits: Digits, tmp_path: Path, three_nodes: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    at_home = distill(digits(**SMALL), tmp_path / "local", quiet=True)
    struck: list[str] = []
    killer = threading.Thread(target=strike, args=(three_nodes, tmp_path / "ray" / "jobs", struck), daemon=True)
    killer.start()
    settings = digits(**SMALL, jobs={"backend": "ray"})
    on_ray = distill(settings, tmp_path / "ray", quiet=True)
    killer.join(timeout=60)

    assert struck == ["worker", "node"]
    assert capfd.readouterr().err.count("starting it again") >= 2
    assert sum(node["Alive"] for node in ray.nodes()) == 2
    assert content(tmp_path / "ray" / "bundle") == content(tmp_path / "local" / "bundle")
    assert {k: v["accuracy"] for k, v in on_ray["systems"].items()} == {
        k: v["accuracy"] for k, v in at_home["systems"].items()
    }
