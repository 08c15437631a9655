import gzip

import numpy as np
import pytest

from moist.data.idx import find_idx, read_idx
from moist.types import UserError

# 2 images of 2 x 3 bytes: magic 00 00 08 (unsigned bytes) 03 (axes), the three lengths, the bytes.
IDX = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, *range(12)])


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "train-images-idx3-ubyte", "train-images.idx3-ubyte"])
def test_plain_and_gzipped_files_are_found_and_read(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(IDX) if name.endswith("gz") else IDX)
    images, labels = find_idx(tmp_path)["train"]
    assert labels is None
    np.testing.assert_array_equal(read_idx(images), np.arange(12, dtype=np.uint8).reshape(2, 2, 3))


@pytest.mark.parametrize("content", [b"", IDX[:3], IDX[:10], IDX[:-1], b"\x00\x00\x0d" + IDX[3:]])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as an IDX file"):
        read_idx(tmp_path / "x")


def test_a_damaged_gzip_is_named(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(IDX)[:-9])
    with pytest.raises(UserError, match=r"x.gz cannot be read"):
        read_idx(tmp_path / "x.gz")


def test_mnist_is_read(real):
    folder = real("mnist")
    images, labels = find_idx(folder)["test"]
    assert read_idx(images).shape == (10000, 28, 28)
    # The published label counts of MNIST's test part.
    assert np.bincount(read_idx(labels)).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
