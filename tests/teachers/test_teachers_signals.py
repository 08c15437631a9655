import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pixel_teacher import PixelTeacher

from moist.data import AugmentSettings, DataSplits
from moist.storage import read_sealed, write_json, write_sealed
from moist.teachers import SignalCache, cache_teacher, open_signal_cache, signals
from moist.types import UserError

ROWS = np.array([99, 3, 3, 57, 0, 64])
VIEWS = np.array([0, 1, 2, 1, 0, 2])


@pytest.fixture
def cache(pixel_teacher: PixelTeacher, digits: DataSplits, tmp_path: Path) -> SignalCache:
    return cache_teacher(
        pixel_teacher,
        digits.validation,
        [0, 1, 2],
        cache_dir=tmp_path,
        augment=AugmentSettings(crop=2),
        embedding=True,
        shard_rows=40,
        quiet=True,
    )


def test_in_memory_and_memory_mapped_rows_are_equal(cache: SignalCache, monkeypatch: pytest.MonkeyPatch) -> None:
    near = cache.logits(ROWS, VIEWS), cache.embedding(ROWS, VIEWS)
    assert near[0].dtype == np.float32
    monkeypatch.setattr(signals, "MAX_BYTES_IN_MEMORY", 0)
    mapped = open_signal_cache(cache.path)
    assert np.array_equal(mapped.logits(ROWS, VIEWS), near[0])
    assert np.array_equal(mapped.embedding(ROWS, VIEWS), near[1])


def test_the_plain_view_is_the_image_itself(cache: SignalCache, digits: DataSplits) -> None:
    pixels = digits.validation.inputs[ROWS].reshape(len(ROWS), -1)
    # Whole numbers up to 255 are exact in float16.
    assert np.array_equal(cache.embedding(ROWS, np.zeros(6, dtype=np.int64)), pixels)


def test_another_process_reads_the_same(cache: SignalCache) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path; from moist.teachers import open_signal_cache\n"
        "cache = open_signal_cache(Path(sys.argv[1]), verify=True)\n"
        "print(cache.views, float(cache.logits(np.array([3, 57]), np.array([1, 2])).sum()))"
    )
    outcome = subprocess.run([sys.executable, "-c", code, str(cache.path)], capture_output=True, text=True, check=True)
    expected = float(cache.logits(np.array([3, 57]), np.array([1, 2])).sum())
    assert outcome.stdout.strip() == f"(0, 1, 2) {expected}"


def test_a_pickled_cache_is_a_path(cache: SignalCache) -> None:
    cache.logits(ROWS, VIEWS)
    content = pickle.dumps(cache)
    assert len(content) < 1000
    assert np.array_equal(pickle.loads(content).logits(ROWS, VIEWS), cache.logits(ROWS, VIEWS))


def test_what_is_not_in_the_cache_is_an_error(cache: SignalCache) -> None:
    with pytest.raises(UserError, match=r"got view 3; .* holds \[0, 1, 2\]"):
        cache.logits(np.array([0, 1]), np.array([1, 3]))
    for row in (-1, 100):
        with pytest.raises(UserError, match="rows must be 0 to 99"):
            cache.logits(np.array([0, row]), np.array([0, 0]))


def test_damaged_manifests(cache: SignalCache) -> None:
    manifest = read_sealed(cache.path / "manifest.json")
    write_sealed(cache.path / "manifest.json", manifest | {"schema": 99})
    with pytest.raises(UserError, match=r"must be of schema 1, .* is of 99"):
        open_signal_cache(cache.path)
    write_sealed(cache.path / "manifest.json", manifest)
    write_json(cache.path / "view-1" / "manifest.json", {"view": 1})
    with pytest.raises(UserError, match=r"view-1 is damaged .*delete"):
        open_signal_cache(cache.path)
