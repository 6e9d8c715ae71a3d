"""Pictures of digits: whatever their form, the same image comes out; whatever is wrong, the one error."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from tinygrad_cnn.data import datasets
from tinygrad_cnn.data.picture import read_digit
from tinygrad_cnn.files import FormatError

Image = pytest.importorskip("PIL.Image")

DIGITS = datasets.Digits(train=False)
EXAMPLES = Path(__file__).parents[2] / "examples"


def a_digit(index=0, size=112) -> np.ndarray:
    """Greys (size, size), light on dark."""
    image = Image.fromarray(DIGITS.data.data[index]).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def saw(folder, picture, suffix="png", **options) -> np.ndarray:
    path = folder / f"picture.{suffix}"
    picture.save(path, **options)
    return read_digit(path)


def alike(a, b) -> float:
    """The correlation of two images."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.fixture(params=[0, 1, 2])
def gray(request):
    return a_digit(request.param)


def test_it_is_centred_and_scaled_as_mnist_is(tmp_path, gray):
    image = saw(tmp_path, Image.fromarray(gray))
    assert (image.shape, image.dtype, image.max()) == ((28, 28), np.uint8, 255)
    rows, columns = np.flatnonzero(image.max(axis=1)), np.flatnonzero(image.max(axis=0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    for axis in (0, 1):
        assert abs(image.sum(axis=1 - axis) @ np.arange(28) / image.sum() - 14) <= 0.5


def test_dark_on_light_is_light_on_dark(tmp_path, gray):
    assert np.array_equal(saw(tmp_path, Image.fromarray(255 - gray)), saw(tmp_path, Image.fromarray(gray)))


@pytest.mark.parametrize("place", [(0, 0), (300, 20), (37, 251)])
def test_where_it_stands_does_not_matter(tmp_path, gray, place):
    page = Image.new("L", (500, 400), 0)
    page.paste(Image.fromarray(gray), place)
    assert alike(saw(tmp_path, page), saw(tmp_path, Image.fromarray(gray))) > 0.97


@pytest.mark.parametrize("size", [40, 300, 1200])
def test_how_large_it_is_does_not_matter(tmp_path, size):
    assert alike(saw(tmp_path, Image.fromarray(a_digit(3, size))), saw(tmp_path, Image.fromarray(a_digit(3)))) > 0.95


def test_an_image_that_was_made_like_mnists_stays_the_same(tmp_path):
    made = saw(tmp_path, Image.fromarray(a_digit(4)))
    again = saw(tmp_path, Image.fromarray(made))
    assert alike(made, again) > 0.99
    assert np.abs(made.astype(int) - again).mean() < 5


def forms(gray):
    paper = Image.fromarray(255 - gray)
    ink = Image.new("RGBA", paper.size, (20, 30, 120, 255))
    ink.putalpha(Image.fromarray(gray))
    chalk = Image.new("RGBA", paper.size, (250, 250, 200, 255))
    chalk.putalpha(Image.fromarray(gray))
    sixteen = Image.fromarray(gray.astype(np.uint16) * 200)
    indexed = paper.convert("P", palette=Image.Palette.ADAPTIVE)
    return {
        "colour": (paper.convert("RGB"), "png", {}),
        "palette": (indexed, "png", {}),
        "transparent palette": (indexed, "png", {"transparency": int(np.asarray(indexed)[0, 0])}),
        "grey and alpha": (paper.convert("LA"), "png", {}),
        "dark ink on nothing": (ink, "png", {}),
        "light ink on nothing": (chalk, "png", {}),
        "16 bits": (sixteen, "png", {}),
        "photograph": (paper.convert("RGB"), "jpg", {"quality": 95}),
        "print": (paper.convert("CMYK"), "jpg", {"quality": 95}),
        "BMP": (paper, "bmp", {}),
        "GIF": (paper, "gif", {}),
        "PPM": (paper.convert("RGB"), "ppm", {}),
        "floats": (Image.fromarray(gray.astype(np.float32) / 100), "pfm", {}),
    }


@pytest.mark.parametrize("form", forms(a_digit()))
def test_the_form_of_the_file_does_not_matter(tmp_path, gray, form):
    picture, suffix, options = forms(gray)[form]
    assert alike(saw(tmp_path, picture, suffix, **options), saw(tmp_path, Image.fromarray(gray))) > 0.98


def test_two_colours_are_enough(tmp_path, gray):
    assert alike(saw(tmp_path, Image.fromarray(gray > 128)), saw(tmp_path, Image.fromarray(gray))) > 0.9


def test_a_photograph_is_turned_as_it_was_held(tmp_path, gray):
    sideways = Image.fromarray(np.rot90(gray))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    turned = saw(tmp_path, sideways, "jpg", exif=exif, quality=95)
    assert alike(turned, saw(tmp_path, Image.fromarray(gray))) > 0.97


def test_grain_and_shadow_of_paper_are_no_ink(tmp_path, gray):
    noise = np.random.default_rng(0).normal(0, 4, (300, 300))
    page = np.linspace(200, 225, 300) + noise
    page[80:192, 90:202] -= gray * 0.7
    photo = Image.fromarray(page.clip(0, 255).astype(np.uint8))
    assert alike(saw(tmp_path, photo, "jpg"), saw(tmp_path, Image.fromarray(gray))) > 0.9


# --- what is refused


def png(width, height, data=b"", kind=0) -> bytes:
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def whole() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(a_digit()).save(stream, "PNG")
    return stream.getvalue()


BAD = {
    "empty": (b"", "is not a picture in one of the formats PNG, JPEG"),
    "text": (b"hello", "is not a picture"),
    "PostScript, which would be run": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture in one"),
    "truncated": (whole()[:-200], "truncated or corrupt"),
    "a wrong checksum": (whole()[:60] + b"\0\0\0\0" + whole()[64:], "is not a picture"),
    "more pixels than bytes can hold": (png(8000, 8000, zlib.compress(bytes(100))), "is too large: 8000 x 8000 pixels"),
    "a decompression bomb": (png(30000, 30000, zlib.compress(bytes(10))), "is too large: it has more pixels than"),
    "an absurd size": (png(2**31 - 1, 2**31 - 1), "is (too large|not a picture)"),
    "no size": (png(0, 0), "is not a picture"),
    "black": (png(9, 9, zlib.compress(bytes(90))), "shows no digit: it has no contrast"),
    "infinite": (b"Pf\n2 2\n-1.0\n" + np.array([0, 1, np.inf, 2], "<f4").tobytes(), "values are not finite"),
    "huge": (
        b"Pf\n2 2\n-1.0\n" + np.array([0, 3e38, -3e38, 2], "<f4").tobytes(),
        "values are not finite, or too large",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_pictures_are_refused_with_name_and_fault(tmp_path, name):
    content, fault = BAD[name]
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=fault) as caught:
        read_digit(path)
    assert caught.value.path == str(path)


def test_places_that_can_not_be_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_digit(tmp_path / "missing.png")
    with pytest.raises(FormatError, match="not a regular file"):
        read_digit("/dev/null")


def test_without_pillow_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r"need the package Pillow: pip install 'tinygrad_cnn\[images\]'"):
        read_digit(tmp_path / "x.png")


# --- the example


def test_predict_says_what_it_saw(tmp_path):
    script = f"""if True:
        import sys
        sys.path.insert(0, {str(EXAMPLES)!r})
        import mnist, tinygrad_cnn as tg
        tg.save(mnist.Net().state_dict(), "weights.npz")
    """
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    Image.fromarray(a_digit()).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"x")
    command = [sys.executable, EXAMPLES / "predict.py", "weights.npz"]
    good = subprocess.run(
        [*command, "a.png", "a.png", "--show", "--draw", "seen.png"], cwd=tmp_path, capture_output=True
    )
    assert good.returncode == 0, good.stderr
    lines = good.stdout.decode().splitlines()
    assert lines[0].startswith("a.png: ")
    assert lines[0].count("%") == 3
    assert {len(line) for line in lines[1:29]} == {56}
    with Image.open(tmp_path / "seen.png") as seen:
        assert seen.size == (2 * 28 * 8, 28 * 8)
    bad = subprocess.run([*command, "b.png", "a.png"], cwd=tmp_path, capture_output=True)
    assert bad.returncode == 1
    assert bad.stderr.startswith(b"b.png: is not a picture")
    assert bad.stdout.startswith(b"a.png: ")
    wrong = subprocess.run([*command[:2], "a.png", "a.png"], cwd=tmp_path, capture_output=True)
    assert wrong.stderr.startswith(b"a.png does not hold weights that examples/mnist.py --save wrote")
    nowhere = subprocess.run([*command, "a.png", "--draw", "no/seen.png"], cwd=tmp_path, capture_output=True)
    assert (nowhere.returncode, nowhere.stdout) == (2, b"")
    strange = subprocess.run([*command, "a.png", "--draw", "seen.xyz"], cwd=tmp_path, capture_output=True)
    assert strange.returncode == 1
    assert strange.stderr.startswith(b"can't draw seen.xyz: unknown file extension")
