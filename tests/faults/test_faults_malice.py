"""Files made to harm: code in checkpoints, bombs, paths that lead out. Each is refused in words, and runs nothing."""

import gzip
import io
import pickle
import struct
import zipfile

import pytest
import torch
from PIL import Image
from torch import nn

from moist.data import UnreadableImage, decode_image
from moist.data.idx import read_idx
from moist.errors import UserError
from moist.mixture import inspect_bundle, load_bundle
from moist.mixture.bundle_files import write_manifest
from moist.storage import read_json
from moist.teachers.checkpoint import load_checkpoint
from moist.training import TrainingSettings, fit


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def plain_pickle(path, payload):
    path.write_bytes(pickle.dumps(payload, protocol=2))


def torch_file(path, payload):
    torch.save({"state_dict": payload}, path)


def legacy_torch_file(path, payload):
    torch.save({"weight": payload}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [plain_pickle, torch_file, legacy_torch_file])
def test_code_in_a_checkpoint_is_not_run(tmp_path, write):
    harmed = tmp_path / "harmed"
    write(tmp_path / "weights.pt", Payload(harmed))
    with pytest.raises(UserError, match=r"tensors alone|cannot be read"):
        load_checkpoint(nn.Linear(2, 2), tmp_path / "weights.pt")
    with pytest.raises(UserError, match="must be whole and of this task"):
        fit(nn.Linear(2, 2), [], TrainingSettings(), seed=0, checkpoint=tmp_path / "weights.pt")
    assert not harmed.exists()
    pickle.loads(pickle.dumps(Payload(harmed))).close()  # it would have worked
    assert harmed.exists()


def test_a_checkpoint_that_unpacks_to_much_more_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(1 << 20), "bias": torch.zeros(2)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry))
    assert (tmp_path / "bomb.pt").stat().st_size < 20_000
    with pytest.raises(UserError, match="must not be compressed"):
        load_checkpoint(nn.Linear(2, 2), tmp_path / "bomb.pt")


def idx(*shape):
    return b"\x00\x00\x08" + bytes([len(shape)]) + b"".join(struct.pack(">I", size) for size in shape)


@pytest.mark.parametrize("shape", [(10, 2, 2), (4_000_000_000, 1000, 1000)])
def test_a_gzip_bomb_is_not_unpacked_beyond_what_it_says(tmp_path, shape):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    with gzip.open(path, "wb") as file:
        file.write(idx(*shape))
        for _ in range(64):
            file.write(bytes(1 << 20))
    with pytest.raises(UserError, match="cannot be read as an IDX file"):
        read_idx(path)


@pytest.mark.parametrize(("mode", "side"), [("1", 20_000), ("P", 9_000), ("L", 13_000)])
def test_an_image_bomb_is_refused_before_it_is_decoded(mode, side):
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 400_000
    with pytest.raises(UnreadableImage, match="at most 50,000,000 pixels"):
        decode_image(buffer.getvalue(), 8, 8, 1)


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "specialists/../../secret", ".hidden", "C:\\x"]
)
def test_a_path_that_leads_out_of_a_bundle_is_refused(digits_bundle, name):
    (digits_bundle.parent / "secret.safetensors").write_bytes(b"secret")
    manifest = read_json(digits_bundle / "bundle.json")
    manifest.pop("sha256")
    manifest["files"][name] = manifest["files"][manifest["domains"][0]["file"]]
    manifest["domains"][0]["file"] = name
    write_manifest(digits_bundle, manifest)
    for use in (load_bundle, inspect_bundle):
        with pytest.raises(UserError, match="plain path inside the bundle"):
            use(digits_bundle)


def test_a_link_that_leads_out_of_a_bundle_is_found(digits_bundle):
    secret = digits_bundle.parent / "secret"
    secret.write_bytes(b"secret")
    weights = digits_bundle / "router.safetensors"
    weights.unlink()
    weights.symlink_to(secret)
    with pytest.raises(UserError, match=r"router\.safetensors must have"):
        load_bundle(digits_bundle)
