"""The curve of the weights is a picture of what the document says."""

from moist.report.sweep import save_sweep


def spread(*values):
    return {"mean": sum(values) / len(values), "values": list(values)}


def point(weight, accuracy):
    return {
        "weight": weight,
        "accuracy": spread(accuracy, accuracy + 0.01),
        "own_part": spread(0.5, 0.6),
        "disagreement": spread(0.3, 0.4),
    }


def test_the_same_document_gives_the_same_bytes(tmp_path):
    document = {"derived": {"sweep": {"squared": [point(0, 0.7), point(0.1, 0.8), point(1, 0.6)]}}}
    save_sweep(document, tmp_path / "a.svg")
    save_sweep(document, tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "squared distance" in text
    assert "divergence" not in text
