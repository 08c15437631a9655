"""Files are whole or absent."""

import errno
import hashlib
import os

import pytest

from moist.storage import (
    content_key,
    default_cache_dir,
    file_sha256,
    only_one,
    read_json,
    read_sealed,
    write_atomic,
    write_json,
    write_sealed,
)
from moist.types import UserError


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def test_json_comes_back(tmp_path):
    value = {"a": [1, 2.5, None], "größer": {"b": True}}
    write_json(tmp_path / "deep" / "er" / "value.json", value)
    assert read_json(tmp_path / "deep" / "er" / "value.json") == value


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    write_json(path, {"b": 2})
    assert read_json(path) == {"b": 2}
    assert names_in(tmp_path) == ["value.json"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), PermissionError("no")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})

    def fail(partial):
        partial.write_text("half of")
        raise error

    with pytest.raises(type(error)):
        write_atomic(path, fail)
    assert read_json(path) == {"a": 1}
    assert names_in(tmp_path) == ["value.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said(tmp_path, code):
    def fail(partial):
        partial.write_text("half of")
        raise OSError(code, os.strerror(code))

    with pytest.raises(UserError, match=r"no space left on the disk while writing .*weights; free some space"):
        write_atomic(tmp_path / "weights", fail)
    assert names_in(tmp_path) == []


def test_numbers_that_json_cannot_hold_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "value.json", {"a": float("nan")})
    assert names_in(tmp_path) == []


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match="is missing; the folder is incomplete"):
        read_json(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"is damaged .* delete it and run the same command again"):
        read_json(tmp_path / "half.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\x00")
    with pytest.raises(UserError, match="is damaged"):
        read_json(tmp_path / "bytes.json")


def test_equal_content_has_an_equal_key():
    assert content_key({"a": 1, "b": 2}, [3]) == content_key({"b": 2, "a": 1}, [3])
    assert content_key("a", "b") != content_key("ab")
    assert content_key({"a": 1}) != content_key({"a": 1.5})
    assert len(content_key()) == 16


def test_sha256(tmp_path):
    content = bytes(range(256)) * 5000  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_the_cache_may_be_moved(tmp_path, monkeypatch):
    monkeypatch.setenv("MOIST_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.setenv("MOIST_CACHE", "")
    assert default_cache_dir().parts[-2:] == (".cache", "moist")


def fail_in(folder, *names):
    def work():
        with only_one(folder):
            for name in names:
                (folder / name).write_text("work")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()


def test_a_folder_that_an_error_left_empty_goes_with_its_lock(tmp_path):
    fail_in(tmp_path / "new")
    fail_in(tmp_path / "used", "work.txt")
    (tmp_path / "old").mkdir()
    fail_in(tmp_path / "old")
    assert sorted(names_in(tmp_path)) == ["old", "used"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_who_is_refused_a_folder_leaves_it_alone(tmp_path):
    with only_one(tmp_path / "run"):
        with pytest.raises(UserError, match="only one process"), only_one(tmp_path / "run"):
            pass
        assert (tmp_path / "run").is_dir()


def test_a_sealed_file_tells_every_change_of_its_text(tmp_path):
    path = tmp_path / "manifest.json"
    write_sealed(path, {"name": "größe", "rows": 40})
    assert read_sealed(path, required=True) == {"name": "größe", "rows": 40}
    text = path.read_text()
    for changed in (text.replace("40", "41"), text.replace("\\u00f6", "\\u00F6"), text + " "):
        path.write_text(changed)
        with pytest.raises(UserError, match=r"manifest\.json differs from its checksum"):
            read_sealed(path)


def test_a_file_without_a_seal_is_read_unless_one_is_required(tmp_path):
    path = tmp_path / "manifest.json"
    write_json(path, {"rows": 40})
    assert read_sealed(path) == {"rows": 40}
    with pytest.raises(UserError, match="has no checksum"):
        read_sealed(path, required=True)
    write_json(path, [1])
    with pytest.raises(UserError, match="must hold an object, got list"):
        read_sealed(path)
