"""The fit loop: resumes to the bit, follows its schedule, decays what it should, and says what went wrong."""

import copy
import sys
from math import cos, pi

import pytest
import torch
from torch import nn
from training_examples import STEPS_PER_EPOCH, Digits, LabelTask

from moist.training import TrainingSettings, fit
from moist.training.fit import learning_rate_factor
from moist.types import Batch, UserError

SETTINGS = TrainingSettings(epochs=3, weight_decay=0.01)
TOTAL = 3 * STEPS_PER_EPOCH


@pytest.fixture(scope="module")
def digits():
    return Digits()


def state_of(task):
    return {name: value.clone() for name, value in task.state_dict().items()}


def assert_equal_states(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("cut", [STEPS_PER_EPOCH, 5, TOTAL - 1])
def test_resume_is_equal_to_the_bit(digits, tmp_path, optimizer, cut):
    settings = SETTINGS.model_copy(update={"optimizer": optimizer})
    unbroken = LabelTask()
    history = fit(unbroken, digits, settings, seed=3)

    checkpoint = tmp_path / "checkpoint.pt"
    fit(LabelTask(), digits, settings, seed=3, checkpoint=checkpoint, max_steps=cut)
    torch.rand(7)  # whatever else the process did in between
    resumed = LabelTask(seed=99)  # its weights come from the checkpoint
    assert fit(resumed, digits, settings, seed=3, checkpoint=checkpoint) == history
    assert_equal_states(state_of(resumed), state_of(unbroken))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_moments_are_laid_out_as_their_parameters_are(digits, tmp_path, optimizer):
    settings = SETTINGS.model_copy(update={"optimizer": optimizer})
    unbroken = LabelTask()
    fit(unbroken, digits, settings, seed=3)
    checkpoint = tmp_path / "checkpoint.pt"
    fit(LabelTask(), digits, settings, seed=3, checkpoint=checkpoint, max_steps=5)
    state = torch.load(checkpoint, weights_only=True)
    for moments in state["optimizer"]["state"].values():
        moments |= {name: value.T.contiguous().T for name, value in moments.items() if value.dim() == 2}
    torch.save(state, checkpoint)
    resumed = LabelTask()
    fit(resumed, digits, settings, seed=3, checkpoint=checkpoint)
    assert_equal_states(state_of(resumed), state_of(unbroken))


def test_ten_steps_are_five_and_five(digits, tmp_path):
    ten, five = tmp_path / "ten.pt", tmp_path / "five.pt"
    whole, parts = LabelTask(), LabelTask()
    fit(whole, digits, SETTINGS, seed=3, checkpoint=ten, max_steps=10)
    fit(parts, digits, SETTINGS, seed=3, checkpoint=five, max_steps=5)
    fit(parts, digits, SETTINGS, seed=3, checkpoint=five, max_steps=10)
    assert_equal_states(state_of(whole), state_of(parts))
    one, other = torch.load(ten, weights_only=True), torch.load(five, weights_only=True)
    assert (one["step"], one["sums"], one["count"]) == (other["step"], other["sums"], other["count"])
    assert torch.equal(one["random"], other["random"])


def test_a_run_that_reached_max_steps_takes_none_more(digits, tmp_path):
    checkpoint, steps = tmp_path / "checkpoint.pt", []
    fit(LabelTask(), digits, SETTINGS, seed=3, checkpoint=checkpoint, max_steps=5)
    task = LabelTask()
    fit(
        task,
        digits,
        SETTINGS,
        seed=3,
        checkpoint=checkpoint,
        max_steps=5,
        advance=lambda done=1, note="", total=None: steps.append(done),
    )
    assert steps == [5]
    assert_equal_states(state_of(task), torch.load(checkpoint, weights_only=True)["task"])


def test_history_has_the_mean_of_every_value_for_each_epoch(digits):
    history = fit(LabelTask(), digits, SETTINGS, seed=3)
    assert [sorted(entry) for entry in history] == [["accuracy", "loss", "progress"]] * 3
    # Progress before each of the four steps of the first epoch: 0, 1, 2, 3 of 12
    assert history[0]["progress"] == pytest.approx(1.5 / 12)
    assert history[-1]["loss"] < history[0]["loss"]


def test_the_task_ends_in_evaluation_mode(digits):
    task = LabelTask()
    fit(task, digits, SETTINGS, seed=3)
    assert not task.training


def test_the_seed_decides_what_is_random_in_the_task(digits):
    first, second, other = (LabelTask() for _ in range(3))
    for task, seed in ((first, 3), (second, 3), (other, 4)):
        fit(task, digits, SETTINGS, seed=seed, max_steps=2)
    assert_equal_states(state_of(first), state_of(second))
    assert any(not torch.equal(value, state_of(other)[name]) for name, value in state_of(first).items())


@pytest.mark.parametrize("stop", [SystemExit(143), KeyboardInterrupt()])
def test_whoever_is_told_of_a_step_may_end_the_run_there(digits, tmp_path, stop):
    checkpoint, told = tmp_path / "checkpoint.pt", []

    def advance(steps=1, note="", total=None):
        told.append((steps, note, total))
        if len(told) == 8:  # the start, and seven steps
            raise stop

    with pytest.raises(type(stop)):
        fit(LabelTask(), digits, SETTINGS, seed=3, checkpoint=checkpoint, advance=advance)
    assert told[0] == (0, "", TOTAL)
    assert told[1][1].startswith("loss ")
    assert torch.load(checkpoint, weights_only=True)["step"] == 7

    resumed, unbroken = LabelTask(), LabelTask()
    assert fit(resumed, digits, SETTINGS, seed=3, checkpoint=checkpoint) == fit(unbroken, digits, SETTINGS, seed=3)
    assert_equal_states(state_of(resumed), state_of(unbroken))


def test_the_state_is_saved_now_and_then(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["moist.training.fit"], "CHECKPOINT_EVERY_SECONDS", 0.0)
    checkpoint = tmp_path / "checkpoint.pt"
    fit(LabelTask(), digits, SETTINGS, seed=3, checkpoint=checkpoint)
    assert torch.load(checkpoint, weights_only=True)["step"] == TOTAL
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def _text(path):
    path.write_bytes(b"this is no checkpoint")


def _empty(path):
    path.write_bytes(b"")


def _truncated(path):
    fit(LabelTask(), Digits(), SETTINGS, seed=3, checkpoint=path, max_steps=1)
    path.write_bytes(path.read_bytes()[:-400])


def _another_task(path):
    torch.save({"task": {"weight": torch.zeros(1)}, "optimizer": {}}, path)


def _another_thing(path):
    torch.save([1, 2, 3], path)


@pytest.mark.parametrize("damage", [_text, _empty, _truncated, _another_task, _another_thing])
def test_a_damaged_checkpoint_is_named(digits, tmp_path, damage):
    checkpoint = tmp_path / "checkpoint.pt"
    damage(checkpoint)
    with pytest.raises(UserError, match=r"(?s)checkpoint\.pt must be whole and of this task.*delete it to train anew"):
        fit(LabelTask(), digits, SETTINGS, seed=3, checkpoint=checkpoint)


def test_a_loss_that_is_not_finite_is_an_error_before_it_spoils_the_weights(digits):
    class Diverges(LabelTask):
        def forward(self, batch, progress):
            values = super().forward(batch, progress)
            return values if progress < 0.4 else {"loss": values["loss"] * torch.nan}

    task = Diverges()
    with pytest.raises(UserError, match=r"finite, got nan at progress 41\.7%; lower training\.learning_rate"):
        fit(task, digits, SETTINGS, seed=3)
    assert all(value.isfinite().all() for value in task.state_dict().values())


def test_the_learning_rate_factor_worked_by_hand():
    # 10 steps, warm-up 0.2: 1/2 and 1, then the cosine over the other 8
    factors = [learning_rate_factor(step, 10, 0.2) for step in range(10)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert factors[6] == pytest.approx(0.5)  # half way down
    assert factors[9] == pytest.approx(0.5 * (1 + cos(pi * 7 / 8)))
    assert factors[1:] == sorted(factors[1:], reverse=True)


def test_without_warm_up_the_first_step_has_the_whole_rate():
    assert learning_rate_factor(0, 10, 0.0) == 1
    assert learning_rate_factor(0, 1, 0.0) == 1


def test_a_settled_learning_rate_worked_by_hand():
    # 12 steps: 2 of warm-up, a cosine from 1 to 0.01 over 6, then 4 at 0.01.
    factors = [learning_rate_factor(step, 12, 2 / 12, 4 / 12) for step in range(12)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert factors[5] == pytest.approx(0.01 + 0.99 / 2)
    assert factors[8:] == pytest.approx([0.01] * 4)


def test_a_schedule_of_warm_up_and_settling_alone_is_refused():
    with pytest.raises(ValueError, match="warmup and settle must leave some of the steps to the cosine"):
        TrainingSettings(warmup=0.5, settle=0.5)


class Slope(nn.Module):
    """A loss whose gradient is 1 (or ``steepness``) everywhere, so that weights tell the learning rates."""

    def __init__(self, steepness=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.steepness = steepness

    def forward(self, batch, progress):
        return {"loss": self.steepness * self.weight.sum()}


class Nothing:
    """Batches for tasks that read none of it."""

    def __init__(self, number=10):
        self.number = number

    def __len__(self):
        return self.number

    def epoch(self, epoch):
        rows = torch.zeros(1, dtype=torch.int64)
        return iter([Batch(rows, rows, torch.zeros(1, 1), None)] * self.number)


PLAIN = TrainingSettings(epochs=1, optimizer="sgd", momentum=0, learning_rate=0.5, warmup=0.2, gradient_clip=None)


def test_the_schedule_is_what_the_steps_follow():
    task = Slope()
    fit(task, Nothing(), PLAIN, seed=0)
    expected = -0.5 * sum(learning_rate_factor(step, 10, 0.2) for step in range(10))
    assert task.weight.item() == pytest.approx(expected)


def test_gradients_are_clipped():
    clipped, steep = Slope(), Slope(1000.0)
    fit(clipped, Nothing(), PLAIN, seed=0)
    fit(steep, Nothing(), PLAIN.model_copy(update={"gradient_clip": 1.0}), seed=0)
    assert steep.weight.item() == pytest.approx(clipped.weight.item(), rel=1e-4)


def test_averaged_weights_by_hand():
    # The rate is 0.25 in the first step and 0.5 from then on; the mean is of steps 9 and 10.
    task = Slope()
    fit(task, Nothing(), PLAIN, seed=0, average=0.2)
    assert task.weight.item() == pytest.approx(-(4.25 + 4.75) / 2)


def test_a_part_with_a_schedule_of_its_own_averages_its_own_end():
    task = Slope()
    fit(task, Nothing(20), PLAIN, seed=0, first_step=4, max_steps=14, own_schedule=True, average=0.2)
    assert task.weight.item() == pytest.approx(-(4.25 + 4.75) / 2)


@pytest.mark.parametrize("cut", [8, 9])
def test_an_average_is_resumed(tmp_path, cut):
    task, checkpoint = Slope(), tmp_path / "checkpoint.pt"
    fit(Slope(), Nothing(), PLAIN, seed=0, average=0.2, checkpoint=checkpoint, max_steps=cut)
    fit(task, Nothing(), PLAIN, seed=0, average=0.2, checkpoint=checkpoint)
    assert task.weight.item() == pytest.approx(-(4.25 + 4.75) / 2)


def test_averaging_is_refused_where_it_cannot_be_right():
    with pytest.raises(UserError, match="0 for a network with batch normalisation"):
        fit(Decaying(), Nothing(), PLAIN, seed=0, average=0.2)


class Decaying(nn.Module):
    """Parameters of many kinds, of which the loss wants nothing: only weight decay moves them."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.stacked_bias = nn.Parameter(torch.ones(4, 2))
        self.stacked_bias.decays = False
        self.decaying_vector = nn.Parameter(torch.ones(4))
        self.decaying_vector.decays = True
        self.frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)

    def forward(self, batch, progress):
        return {"loss": sum(0 * parameter.sum() for parameter in self.parameters() if parameter.requires_grad)}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_weight_decay_acts_on_matrices_and_kernels_only(optimizer):
    torch.manual_seed(0)
    task = Decaying()
    before = copy.deepcopy(task.state_dict())
    settings = PLAIN.model_copy(update={"optimizer": optimizer, "weight_decay": 0.1})
    fit(task, Nothing(), settings, seed=0)
    moved = {name for name, value in task.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"linear.weight", "conv.weight", "decaying_vector"}
    assert task.linear.weight.abs().sum() < before["linear.weight"].abs().sum()


def test_bfloat16_keeps_weights_and_losses_in_float32(digits):
    task = LabelTask()
    history = fit(task, digits, SETTINGS.model_copy(update={"precision": "bfloat16", "epochs": 6}), seed=3)
    assert all(parameter.dtype == torch.float32 for parameter in task.parameters())
    assert history[-1]["loss"] < history[0]["loss"]


def test_a_first_step_joins_an_earlier_part_of_the_schedule():
    whole, parts = Slope(), Slope()
    fit(whole, Nothing(), PLAIN, seed=0)
    fit(parts, Nothing(), PLAIN, seed=0, max_steps=4)
    fit(parts, Nothing(), PLAIN, seed=0, first_step=4)
    assert parts.weight.item() == pytest.approx(whole.weight.item())


def test_a_part_with_a_schedule_of_its_own_runs_it_from_end_to_end():
    # The last 6 of 10 steps on their own are what 6 steps alone would be.
    alone, part = Slope(), Slope()
    fit(alone, Nothing(6), PLAIN, seed=0)
    fit(part, Nothing(), PLAIN, seed=0, first_step=4, own_schedule=True)
    assert part.weight.item() == pytest.approx(alone.weight.item())
    first, whole = Slope(), Slope()
    fit(first, Nothing(), PLAIN, seed=0, max_steps=6, own_schedule=True)
    assert first.weight.item() == pytest.approx(alone.weight.item())
    fit(whole, Nothing(), PLAIN, seed=0, max_steps=6)
    assert whole.weight.item() != pytest.approx(alone.weight.item())
