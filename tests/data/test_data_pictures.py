import io
import warnings

import numpy as np
import pytest
from PIL import Image

from moist.data import UnreadableImage, count_pixels, decode_image

RED = np.full((4, 6, 3), (200, 0, 0), np.uint8)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_formats_give_the_very_pixels(form):
    options = {"lossless": True} if form == "WEBP" else {}
    buffer = io.BytesIO()
    Image.fromarray(RED).save(buffer, form, **options)
    np.testing.assert_array_equal(decode_image(buffer.getvalue(), 4, 6, 3), RED)


def test_a_jpeg_is_resized_and_turned_grey_for_a_grey_schema(png):
    grey = decode_image(png(RED, "JPEG"), 8, 8, 1)
    assert grey.shape == (8, 8, 1)
    # Luma of (200, 0, 0) is 0.299 * 200 = 60.
    assert abs(int(grey.mean()) - 60) <= 3


def test_palettes_alpha_and_16_bits_are_read(tmp_path):
    palette = Image.fromarray(RED).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "p.png", transparency=b"\x80" * 256)
    np.testing.assert_array_equal(decode_image(tmp_path / "p.png", 4, 6, 3), RED)
    Image.fromarray(np.dstack([RED, np.full((4, 6), 9, np.uint8)])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png", 4, 6, 3), RED)
    Image.fromarray(np.full((2, 2), 0x8100, np.uint16)).save(tmp_path / "deep.png")
    assert decode_image(tmp_path / "deep.png", 2, 2, 1).max() == 0x81


def test_a_photo_is_turned_upright(tmp_path):
    half = RED.copy()
    half[:, 3:] = 0
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(half).save(tmp_path / "turned.png", exif=exif)
    # Orientation 6: the left of the stored picture is the top of the upright one.
    upright = decode_image(tmp_path / "turned.png", 6, 4, 3)
    assert upright[0, 0, 0] == 200
    assert upright[5, 0, 0] == 0


def test_bad_pictures_are_refused_by_name(png, tmp_path):
    whole = png(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    for source, message in [
        (whole[: len(whole) // 2], "the image is not"),
        (b"hello", "readable PNG, JPEG"),
        (tmp_path / "none.png", "there is none at"),
        (tmp_path, "is not"),
    ]:
        with pytest.raises(UnreadableImage, match=message):
            decode_image(source, 8, 8, 3, str(source) if isinstance(source, type(tmp_path)) else "the image")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(png, monkeypatch):
    assert count_pixels(png(np.zeros((10, 20, 3), np.uint8))) == 200
    assert count_pixels(b"no picture") == 0
    with pytest.raises(UnreadableImage, match=r"at most 100 pixels.*20 x 10"):
        decode_image(png(np.zeros((10, 20, 3), np.uint8)), 8, 8, 3, max_pixels=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
        with pytest.raises(UnreadableImage, match="at most"):
            decode_image(png(np.zeros((10, 20, 3), np.uint8)), 8, 8, 3)
