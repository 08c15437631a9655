"""Open a bundle and ask it: classes, probabilities, who answered, and what a wider choice of specialists changes.

python use_bundle.py runs/digits/bundle seven.png
"""

import sys

import moist
from moist.data import read_inputs


def main(bundle: str, *inputs: str) -> None:
    """Print what the mixture says of each input (image files, texts, or files of table rows)."""
    mixture = moist.load_bundle(bundle)
    raw = read_inputs(inputs, mixture.schema)

    answer = mixture.predict_all(raw)
    for name, row, domain in zip(inputs, answer.probabilities, answer.routing.expert_indices[:, 0]):
        best = int(row.argmax())
        print(f"{name}: {mixture.classes[best]} ({row[best]:.1%}), by specialist {domain}")

    mixture.inference = mixture.inference.model_copy(update={"top_k": "all"})
    print("all specialists together say", *mixture.predict(raw))


if __name__ == "__main__":
    main(*sys.argv[1:])
