"""One model trained by processes that torchrun starts."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rank_program import train

from moist.storage import read_json
from moist.training import Ranks, is_first_rank, joined_ranks
from moist.types import Batch, UserError

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
CONFIG = """
name: ranks
data: {name: digits}
student: {family: mlp, width: 16, sparse: {num_experts: 4}}
training: {epochs: 2, batch_size: 64}
"""


def run_ranks(count, *arguments, **options):
    return subprocess.run([*TORCHRUN, str(count), *map(str, arguments)], check=True, timeout=300, **options)


def test_ranks_find_what_one_process_finds_and_resume(tmp_path):
    (tmp_path / "alone").mkdir()
    weights, history = train(tmp_path / "alone", 12)
    for steps in (7, 12):  # the second goes on from the first's checkpoint
        run_ranks(2, HERE / "rank_program.py", tmp_path, steps)
    both = [torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]
    for name, value in weights.items():
        assert torch.equal(both[0][0][name], both[1][0][name])
        torch.testing.assert_close(both[0][0][name], value)
    assert [entry["loss"] for entry in both[0][1]] == pytest.approx([entry["loss"] for entry in history])


def test_a_network_with_experts_is_trained_by_two_ranks_and_written_once(tmp_path):
    (tmp_path / "ranks.yaml").write_text(CONFIG)
    command = ["-m", "moist", "train-moe", "ranks.yaml", "--out", "out"]
    run_ranks(2, *command, cwd=tmp_path)
    metrics = read_json(tmp_path / "out" / "metrics.json")
    assert len(metrics["history"]) == 2
    assert metrics["systems"]["moe"]["accuracy"]["mean"] > 0.3
    assert (tmp_path / "out" / "model.safetensors").exists()
    # Complete: neither rank has anything to do.
    run_ranks(2, *command, cwd=tmp_path)
    assert read_json(tmp_path / "out" / "metrics.json") == metrics


def test_a_clusters_variables_alone_join_nothing(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with joined_ranks() as ranks:
        assert ranks == Ranks(0, 1)
    assert is_first_rank()


def test_shares_cover_a_batch_and_weigh_as_much():
    rows = torch.arange(5)
    batch = Batch(rows, rows, rows.float(), None)
    shares = [Ranks(rank, 2).share(batch) for rank in range(2)]
    assert sorted(torch.cat([share.index for share, _ in shares]).tolist()) == rows.tolist()
    # Averaged over the ranks, weighted means are the mean of all.
    assert sum(weight * share.inputs.mean() for share, weight in shares) / 2 == pytest.approx(rows.float().mean())


def test_a_batch_too_small_for_the_ranks_is_refused():
    one = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(UserError, match="got 1 for 2 ranks"):
        Ranks(0, 2).share(Batch(one, one, one, one))
