from pathlib import Path

import numpy as np
import pytest
import torch

from moist.teachers.shards import check_shard, find_shard, pack, unpack_logits, write_shard
from moist.types import TeacherSignal, UserError


def test_top_k_by_hand() -> None:
    # Probabilities 0.5, 0.2, 0.2, 0.1: the largest is kept, the others share 0.5 evenly.
    logits = torch.tensor([[0.2, 0.5, 0.1, 0.2]]).log()
    parts = pack(TeacherSignal(logits), top_k=1, embedding=False)
    assert parts["classes"].tolist() == [[1]]
    assert parts["logits"].dtype == np.float16
    rebuilt = np.exp(unpack_logits(parts["logits"], parts["classes"], 4))
    rebuilt /= rebuilt.sum()
    assert rebuilt[0] == pytest.approx([1 / 6, 0.5, 1 / 6, 1 / 6], abs=1e-3)


def test_top_k_keeps_the_mass_on_any_scale() -> None:
    logits = 5 * torch.randn(50, 30, generator=torch.Generator().manual_seed(0)) + 40
    parts = pack(TeacherSignal(logits), top_k=4, embedding=False)
    rebuilt = torch.from_numpy(unpack_logits(parts["logits"], parts["classes"], 30))
    top = logits.topk(4, dim=1)
    torch.testing.assert_close(rebuilt.topk(4, dim=1).values, top.values - top.values[:, :1], rtol=1e-3, atol=1e-3)
    before, after = torch.softmax(logits, 1), torch.softmax(rebuilt, 1)
    torch.testing.assert_close(after.gather(1, top.indices), before.gather(1, top.indices), rtol=0.05, atol=1e-3)


def test_a_shard_is_found_again_unless_a_bit_has_changed(tmp_path: Path) -> None:
    parts = {"logits": np.arange(6, dtype=np.float16).reshape(2, 3), "embedding": np.ones((2, 4), dtype=np.float16)}
    shard = write_shard(tmp_path, 0, 2, parts)
    assert find_shard(tmp_path, 0, 2, ["logits", "embedding"]) == shard
    assert find_shard(tmp_path, 2, 4, ["logits"]) is None
    check_shard(tmp_path, shard, checksums=True)
    file = tmp_path / shard.files["logits"].name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert find_shard(tmp_path, 0, 2, ["logits", "embedding"]) is None
    check_shard(tmp_path, shard, checksums=False)
    with pytest.raises(UserError, match=rf"{file.name} is damaged .*run the command that made the cache again"):
        check_shard(tmp_path, shard, checksums=True)
    file.unlink()
    with pytest.raises(UserError, match="is missing or cut short"):
        check_shard(tmp_path, shard, checksums=False)
