import json

import numpy as np
import pytest

from moist.data.image_cache import DecodeRule, decode_pictures
from moist.data.pictures import Pictures, array_pictures
from moist.data.schema import ImageSchema
from moist.types import UserError

RAISE = DecodeRule(None, "raise")


def pictures(encoded, key="k", reads=None):
    def read():
        if reads is not None:
            reads.append(1)
        return ((f"image {i}", data) for i, data in enumerate(encoded))

    return Pictures(len(encoded), lambda: key, read)


def colours(*shades, shape=(4, 4, 3)):
    return [np.full(shape, shade, np.uint8) for shade in shades]


@pytest.fixture
def encoded(png):
    return [png(pixels) for pixels in colours(10, 20, 30)]


def decode(source, tmp_path, rule=RAISE):
    return decode_pictures(source, rule, tmp_path, "t", quiet=True)


def manifest_of(tmp_path):
    (manifest,) = tmp_path.glob("images/*/manifest.json")
    return manifest


def test_pictures_are_decoded_once_into_a_memory_map(encoded, tmp_path):
    reads = []
    first = decode(pictures(encoded, reads=reads), tmp_path)
    again = decode(pictures(encoded, reads=reads), tmp_path)
    assert len(reads) == 1
    assert isinstance(again.images, np.memmap)
    assert again.images.flags.writeable
    np.testing.assert_array_equal(first.images, np.stack(colours(10, 20, 30)))
    np.testing.assert_array_equal(first.images, again.images)
    assert decode(pictures(encoded[:2], "other"), tmp_path).images.shape[0] == 2


@pytest.mark.parametrize("damage", ["bit", "cut", "gone", "manifest", "key"])
def test_a_damaged_cache_is_made_again(encoded, tmp_path, damage, capsys):
    decode(pictures(encoded), tmp_path)
    manifest = manifest_of(tmp_path)
    images = manifest.with_name("images.npy")
    content = images.read_bytes()
    if damage == "bit":
        images.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "cut":
        images.write_bytes(content[:-5])
    elif damage == "gone":
        images.unlink()
    elif damage == "manifest":
        manifest.write_text("{")
    else:
        manifest.write_text(json.dumps({"sha256": json.loads(manifest.read_text())["sha256"]}))
    again = decode(pictures(encoded), tmp_path)
    np.testing.assert_array_equal(again.images, np.stack(colours(10, 20, 30)))
    assert "damaged" in capsys.readouterr().err
    assert images.read_bytes() == content


def test_an_interrupted_decoding_leaves_nothing_that_looks_whole(encoded, tmp_path):
    def broken():
        yield "image 0", encoded[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode(Pictures(3, lambda: "k", broken), tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(decode(pictures(encoded), tmp_path).images) == 3


def test_an_unreadable_picture_is_named_and_skipped_on_demand(encoded, tmp_path, capsys):
    damaged = pictures([encoded[0], b"no picture", encoded[2], None])
    with pytest.raises(UserError, match="image 1 is not"):
        decode(damaged, tmp_path)
    for _ in range(2):  # decoded, then from the cache
        decoded = decode(damaged, tmp_path, DecodeRule(None, "skip"))
        assert decoded.skipped.tolist() == [1, 3]
        np.testing.assert_array_equal(decoded.images, np.stack(colours(10, 30)))
        warned = " ".join(capsys.readouterr().err.split())
        assert "2 unreadable images are left out: image 1, image 3" in warned


def test_no_readable_picture_at_all_is_an_error(tmp_path):
    with pytest.raises(UserError, match="none of the 1 of t is; image 0"):
        decode(pictures([b"x"]), tmp_path, DecodeRule(None, "skip"))
    with pytest.raises(UserError, match="at least one example, t has none"):
        decode(pictures([]), tmp_path)


def test_differing_sizes_are_refused_and_image_size_mends_it(png, tmp_path):
    mixed = pictures([png(p) for p in (*colours(10), *colours(20, shape=(6, 5, 3)))])
    with pytest.raises(UserError, match=r"image 1 is 6 x 5.*\(image 0\) are 4 x 4.*image_size: \[4, 4\]"):
        decode(mixed, tmp_path)
    assert decode(mixed, tmp_path, DecodeRule((4, 4), "raise")).images.shape == (2, 4, 4, 3)
    with pytest.raises(UserError, match=r"others .* are 9 x 9"):
        decode(mixed, tmp_path, DecodeRule(None, "raise", ImageSchema(9, 9, 3)))


def test_grey_pictures_have_one_channel_until_a_coloured_one_comes(png, tmp_path):
    grey = [png(p[..., 0]) for p in colours(10, 20)]
    assert decode(pictures(grey, "grey"), tmp_path).images.shape == (2, 4, 4, 1)
    both = decode(pictures([*grey, png(colours(30)[0])], "both"), tmp_path)
    assert both.images.shape == (3, 4, 4, 3)
    like = DecodeRule(None, "raise", ImageSchema(4, 4, 3))
    assert decode(pictures(grey, "grey"), tmp_path, like).images.shape == (2, 4, 4, 3)


def test_arrays_need_no_cache_unless_they_are_resized(tmp_path):
    source = array_pictures(np.stack(colours(1, 2)), "a")
    assert decode(source, tmp_path).images is source.array
    assert not list(tmp_path.iterdir())
    assert decode(source, tmp_path, DecodeRule((2, 2), "raise")).images.shape == (2, 2, 2, 3)


def test_a_cache_folder_that_cannot_be_made_names_the_remedy(encoded, tmp_path):
    (tmp_path / "images").write_text("a file is in the way")
    with pytest.raises(UserError, match=r"must be writable.*set MOIST_CACHE"):
        decode(pictures(encoded), tmp_path)
