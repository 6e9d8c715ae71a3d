"""Tell which digits pictures show, with the weights that examples/mnist.py --save wrote.

python examples/predict.py weights.npz seven.png photo.jpg
python examples/predict.py weights.npz seven.png --show
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from mnist import TRANSFORM, Net, new_file

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn.data.picture import read_digit

SHADES = " .:-=+*#%@"


@tg.no_grad()
def probabilities(model: Net, image: Any) -> list[float]:
    """How likely an image, uint8 (28, 28), shows each of the ten digits."""
    model.eval()
    return F.softmax(model(TRANSFORM(image).unsqueeze(0)), dim=1)[0].tolist()


def report(chances: list[float]) -> str:
    """The most likely digits, as in ``7  (7: 98.1 %, 1: 1.2 %, 9: 0.4 %)``."""
    best = sorted(range(10), key=lambda digit: -chances[digit])
    return f"{best[0]}  (" + ", ".join(f"{digit}: {chances[digit]:.1%}" for digit in best[:3]) + ")"


def as_text(image: Any) -> str:
    """An image, uint8 (28, 28), drawn with characters."""
    return "\n".join("".join(SHADES[value * len(SHADES) // 256] * 2 for value in row) for row in image.tolist())


def main() -> None:
    """Read the model and the pictures, print a line for each."""
    args = parse_arguments()
    model = Net()
    try:
        model.load_state_dict(tg.load(args.model))
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        sys.exit(f"{args.model} does not hold weights that examples/mnist.py --save wrote: {error}")
    seen = []
    for path in args.images:
        try:
            image = read_digit(path)
        except (OSError, ValueError, ImportError) as error:
            print(error, file=sys.stderr)
            continue
        seen.append(image)
        print(f"{path}: {report(probabilities(model, image))}")
        if args.show:
            print(as_text(image))
    if args.draw and seen:
        draw(np.hstack(seen), args.draw)
    sys.exit(len(seen) < len(args.images))


def draw(image: Any, path: str) -> None:
    """Write an image, uint8 (H, W), as a picture, each pixel eight pixels wide."""
    from PIL import Image

    try:
        Image.fromarray(image.repeat(8, axis=0).repeat(8, axis=1)).save(path)
    except (OSError, ValueError) as error:
        sys.exit(f"can't draw {path}: {error}")
    print(f"what the model saw is in {path}")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", metavar="MODEL", help="file that examples/mnist.py --save has written")
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="picture of one digit, dark on light or light on dark"
    )
    parser.add_argument("--show", action="store_true", help="print what the model saw")
    parser.add_argument("--draw", metavar="FILE", type=new_file, help="write what the model saw as a picture")
    return parser.parse_args()


if __name__ == "__main__":
    main()
