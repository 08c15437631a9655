"""A teacher of your own: a function that returns a module, and its weights in a file.

Run this once to train it (some seconds): python digit_teacher.py, then: moist distill own_teacher.yaml
"""

import torch
from safetensors.torch import save_file
from torch import nn

from moist.data import DataSettings, load_dataset
from moist.storage import default_cache_dir


def create_teacher(hidden: int = 512) -> nn.Module:
    """Return the untrained module; images reach it as (N, 1, 8, 8), normalised as the configuration says."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def main(epochs: int = 200) -> None:
    """Train on the training part alone, as `moist distill` cuts it, and write digit_teacher.safetensors."""
    torch.manual_seed(0)
    train = load_dataset(DataSettings(name="digits"), default_cache_dir()).train
    images = (torch.from_numpy(train.inputs).permute(0, 3, 1, 2) / 255 - 0.3) / 0.4
    labels = torch.from_numpy(train.target)
    model = create_teacher()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_file(model.state_dict(), "digit_teacher.safetensors")


if __name__ == "__main__":
    main()
