from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from moist.teachers.checkpoint import load_checkpoint
from moist.types import UserError


class Opaque:
    """Something that only code can restore."""


@pytest.fixture
def source() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(2, 3)


def test_all_forms_of_a_checkpoint(tmp_path: Path, source: nn.Linear) -> None:
    weights = {f"module.{name}": tensor for name, tensor in source.state_dict().items()}
    save_file(weights, tmp_path / "a.safetensors")
    torch.save(weights, tmp_path / "b.pt")
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "c.th")
    for name in ("a.safetensors", "b.pt", "c.th"):
        module = nn.Linear(2, 3)
        load_checkpoint(module, tmp_path / name, "module.")
        assert torch.equal(module.weight, source.weight)


def test_a_checkpoint_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Opaque()}, tmp_path / "x.pt")
    with pytest.raises(UserError, match="must hold tensors alone"):
        load_checkpoint(nn.Linear(2, 3), tmp_path / "x.pt")


def test_other_errors_name_what_is_wrong(tmp_path: Path, source: nn.Linear) -> None:
    torch.save(source.state_dict(), tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"must fit the module: .*size mismatch"):
        load_checkpoint(nn.Linear(5, 3), tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"missing: 0\.weight, 0\.bias; unexpected: weight, bias; .*strip_prefix"):
        load_checkpoint(nn.Sequential(source), tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"must be a file, got .*which is not there"):
        load_checkpoint(source, tmp_path / "y.pt")
    for name in ("z.safetensors", "z.pt"):
        (tmp_path / name).write_bytes(b"not a checkpoint")
        with pytest.raises(UserError, match=r"cannot be read|must hold tensors alone"):
            load_checkpoint(source, tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UserError, match="must map names to tensors"):
        load_checkpoint(source, tmp_path / "list.pt")
