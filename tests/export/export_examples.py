"""Small mixtures that say something: scores that differ from input to input, in every family."""

import torch
from tiny_mixtures import make_tiny
from torch import nn

from moist.mixture import calibrate_exit, save_bundle


def make_example(case, **changes):
    """Return a tiny mixture whose convolutions let something through, so that its gate can tell inputs apart."""
    tiny = make_tiny(case, **changes)
    random = torch.Generator().manual_seed(1)
    for part in tiny.mixture.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.zero_()
        if isinstance(part, nn.Embedding):
            part.weight.data += torch.randn(part.weight.shape, generator=random)
    for part in tiny.mixture.gate.modules():
        if isinstance(part, nn.Linear):
            part.weight.data *= 4
            last = part
    with torch.no_grad():  # no specialist is preferred for all inputs alike
        inputs = tiny.mixture.transform.to_tensor(torch.from_numpy(tiny.mixture.transform.encode(tiny.raw)))
        scores = tiny.mixture.scores(inputs, tiny.mixture.trunk(inputs))
        last.bias -= scores.mean(dim=0)[-len(last.bias) :]
    if tiny.settings.exit is not None:
        calibrate_exit(tiny.mixture.trunk, tiny.mixture.gate, [inputs], tiny.settings.exit.share)
    return tiny


def write_bundle(tiny, path, measured=None):
    """Save a tiny mixture as a bundle."""
    save_bundle(tiny.mixture, path, student=tiny.student, settings=tiny.settings, measured=measured or {})
    return path
