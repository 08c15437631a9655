from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pixel_teacher import PixelTeacher

from moist.data import AugmentSettings, DataSplits
from moist.storage import read_json
from moist.teachers import TeacherSettings, cache_teacher, load_teacher, open_signal_cache
from moist.types import TeacherSignal, UserError

VARIED = AugmentSettings(crop=2, flip=True)


def make(teacher: PixelTeacher, digits: DataSplits, tmp_path: Path, views: list[int], **more: object):
    values: dict[str, object] = {"augment": VARIED, "shard_rows": 128, "batch_size": 50, "quiet": True} | more
    return cache_teacher(teacher, digits.validation, views, cache_dir=tmp_path, **values)


def files(path: Path) -> dict[str, float]:
    return {str(file.relative_to(path)): file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}


def test_layout_and_manifest(pixel_teacher: PixelTeacher, digits: DataSplits, tmp_path: Path) -> None:
    cache = make(pixel_teacher, digits, tmp_path, [0, 2], shard_rows=64, embedding=True)
    manifest = read_json(cache.path / "manifest.json")
    assert manifest["views"] == [0, 2]
    assert manifest["num_rows"] == 100
    assert manifest["teacher"]["classes"] == list(digits.train.classes)
    assert manifest["augment"] == {"crop": 2, "flip": True, "cutout": 0, "cutmix": 0.0}
    shards = read_json(cache.path / "view-2" / "manifest.json")["shards"]
    assert [(shard["start"], shard["stop"]) for shard in shards] == [(0, 64), (64, 100)]
    assert {file.suffix for file in cache.path.rglob("*") if file.is_file()} == {".json", ".npy"}


def test_a_complete_cache_is_opened_without_the_teacher(
    pixel_teacher: PixelTeacher, digits: DataSplits, tmp_path: Path
) -> None:
    first = make(pixel_teacher, digits, tmp_path, [0, 1])
    written = files(first.path)
    pixel_teacher.rows_seen = 0
    again = make(pixel_teacher, digits, tmp_path, [1, 0], shard_rows=32)
    assert pixel_teacher.rows_seen == 0
    assert again.path == first.path
    assert files(first.path) == written


def test_views_can_be_added(pixel_teacher: PixelTeacher, digits: DataSplits, tmp_path: Path) -> None:
    first = make(pixel_teacher, digits, tmp_path, [0, 1])
    pixel_teacher.rows_seen = 0
    more = make(pixel_teacher, digits, tmp_path, [0, 1, 2])
    assert pixel_teacher.rows_seen == 100
    assert more.path == first.path
    assert more.views == open_signal_cache(first.path).views == (0, 1, 2)
    assert make(pixel_teacher, digits, tmp_path, [1]).views == (1,)


def test_an_interrupted_run_goes_on_at_the_first_missing_shard(
    pixel_teacher: PixelTeacher, digits: DataSplits, tmp_path: Path
) -> None:
    whole = make(PixelTeacher(), digits, tmp_path / "whole", [0, 1], shard_rows=25)

    class Interrupted(PixelTeacher):
        def signal(self, raw: np.ndarray) -> TeacherSignal:
            if self.rows_seen >= 150:
                raise KeyboardInterrupt
            return super().signal(raw)

    with pytest.raises(KeyboardInterrupt):
        make(Interrupted(), digits, tmp_path / "cut", [0, 1], shard_rows=25)
    path = tmp_path / "cut" / "signals" / whole.path.name
    with pytest.raises(UserError, match=r"manifest.json is missing"):
        open_signal_cache(path)
    resumed = make(pixel_teacher, digits, tmp_path / "cut", [0, 1], shard_rows=25)
    assert pixel_teacher.rows_seen == 50
    # Bit for bit what an unbroken run writes: the names hold checksums.
    assert set(files(resumed.path)) == set(files(whole.path))


def test_a_damaged_shard_is_found_and_made_anew(
    pixel_teacher: PixelTeacher, digits: DataSplits, tmp_path: Path
) -> None:
    cache = make(pixel_teacher, digits, tmp_path, [0, 1], shard_rows=50)
    victim = sorted((cache.path / "view-1").glob("*.npy"))[1]
    content = bytearray(victim.read_bytes())
    content[-3] ^= 64
    victim.write_bytes(content)
    open_signal_cache(cache.path)
    with pytest.raises(UserError, match=rf"{victim.name} is damaged .*makes this shard anew and keeps the others"):
        open_signal_cache(cache.path, verify=True)
    pixel_teacher.rows_seen = 0
    mended = make(pixel_teacher, digits, tmp_path, [0, 1], shard_rows=50)
    assert pixel_teacher.rows_seen == 50
    open_signal_cache(mended.path, verify=True)
    victim.unlink()
    with pytest.raises(UserError, match="missing or cut short"):
        open_signal_cache(cache.path)


def test_the_folder_depends_on_all_that_changes_the_signals(
    pixel_teacher: PixelTeacher, digits: DataSplits, tmp_path: Path
) -> None:
    other = PixelTeacher()
    other.key = "another"
    fewer = replace(digits, validation=digits.validation.take(np.arange(50)))
    caches = [
        make(pixel_teacher, digits, tmp_path, [0]),
        make(other, digits, tmp_path, [0]),
        make(pixel_teacher, fewer, tmp_path, [0]),
        make(pixel_teacher, digits, tmp_path, [0], augment=None),
        make(pixel_teacher, digits, tmp_path, [0], top_k=3),
        make(pixel_teacher, digits, tmp_path, [0], embedding=True),
    ]
    assert len({cache.path for cache in caches}) == len(caches)
    assert make(pixel_teacher, digits, tmp_path, [0], augment=AugmentSettings()).path == caches[3].path
    assert make(pixel_teacher, digits, tmp_path, [0], top_k=10).path == caches[0].path


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e6])
@pytest.mark.parametrize("top_k", [None, 2])
def test_numbers_that_are_none_are_refused(bad: float, top_k: int | None, digits: DataSplits, tmp_path: Path) -> None:
    class Broken(PixelTeacher):
        def signal(self, raw: np.ndarray) -> TeacherSignal:
            logits = torch.zeros(len(raw), 10)
            logits[7, 3] = bad
            return TeacherSignal(logits)

    with pytest.raises(UserError, match="gave NaN, infinite or larger values in the logits of row 7, view 0"):
        make(Broken(), digits, tmp_path, [0], top_k=top_k)


def test_requests_that_do_not_fit(
    pixel_teacher: PixelTeacher, digits: DataSplits, table: DataSplits, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="top_k must be between 1 and the number of classes, 10, got 11"):
        make(pixel_teacher, digits, tmp_path, [0], top_k=11)
    with pytest.raises(UserError, match="views above 0 need images and augment settings"):
        make(pixel_teacher, digits, tmp_path, [0, 1], augment=None)
    with pytest.raises(UserError, match=r"got view 1 of 'table' \(tabular\) without"):
        cache_teacher(pixel_teacher, table.validation, [1], cache_dir=tmp_path, augment=VARIED)
    with pytest.raises(UserError, match=r"view seeds must be 0 .* got -1"):
        make(pixel_teacher, digits, tmp_path, [-1])
    with pytest.raises(UserError, match="needs a view and a row, got 0 views"):
        make(pixel_teacher, digits, tmp_path, [])

    class Mute(PixelTeacher):
        def signal(self, raw: np.ndarray) -> TeacherSignal:
            return replace(super().signal(raw), embedding=None)

    with pytest.raises(UserError, match="'pixels' has no embedding to store"):
        make(Mute(), digits, tmp_path, [0], embedding=True)


def test_a_fitted_teacher_is_not_fitted_for_a_complete_cache(digits: DataSplits, tmp_path: Path) -> None:
    settings = TeacherSettings(kind="sklearn", estimator="sklearn.naive_bayes.GaussianNB")
    cache_teacher(load_teacher(settings, digits, quiet=True), digits.test, [0], cache_dir=tmp_path, quiet=True)
    teacher = load_teacher(settings, digits, quiet=True)
    cache_teacher(teacher, digits.test, [0], cache_dir=tmp_path, quiet=True)
    assert "_fitted" not in vars(teacher)
