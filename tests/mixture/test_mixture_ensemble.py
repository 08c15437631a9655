"""The specialist ensemble: who is heard, what comes out, how it starts, and that it survives its bundle."""

import numpy as np
import pytest
import torch
from tiny_mixtures import CASES
from torch import nn

from moist.errors import UserError
from moist.export import mixture_fragments
from moist.mixture import (
    CoverageGate,
    InferenceSettings,
    MixtureSettings,
    SpecialistEnsemble,
    build_ensemble,
    classes_each,
    inspect_bundle,
    load_bundle,
    new_class_specialist,
    save_bundle,
    start_from_generalist,
)
from moist.students import StudentSettings, create_student

CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox")
SETS = torch.tensor([[0, 1], [1, 2], [4, 5]])
CORRECTION = torch.tensor([0.7, 0.0, -0.4])


class Fixed(nn.Module):
    """Says the rows of a table, by the first input."""

    def __init__(self, table):
        super().__init__()
        self.table = table
        self.asked = []

    def forward(self, inputs):
        self.asked += inputs[:, 0].long().tolist()
        return self.table[inputs[:, 0].long()]


def fixed_ensemble():
    torch.manual_seed(0)
    general = torch.full((4, 6), -3.0)
    general[range(4), [0, 1, 3, 5]] = 2.0  # covered by specialist 0; by 0 and 1; by none; by 2
    specialists = nn.ModuleList(Fixed(torch.randn(4, 3)) for _ in SETS)
    return SpecialistEnsemble(CoverageGate(Fixed(general), SETS, CORRECTION), specialists), general


def test_only_specialists_that_know_the_guess_run():
    ensemble, general = fixed_ensemble()
    prediction = ensemble(torch.arange(4.0)[:, None])
    assert [sorted(member.asked) for member in ensemble.specialists] == [[0, 1], [1], [3]]
    torch.testing.assert_close(prediction.probabilities[2], general[2].softmax(dim=0))
    torch.testing.assert_close(prediction.probabilities.sum(dim=1), torch.ones(4))
    heard = torch.zeros(4, 3).scatter_(1, prediction.routing.expert_indices, prediction.routing.expert_weights)
    assert heard.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert prediction.routing.expert_weights[:, 0].tolist() == [1, 1, 0, 1]  # who is heard comes first
    assert not prediction.deferred.any()


def test_more_guesses_call_more_specialists():
    ensemble, general = fixed_ensemble()
    assert ensemble.gate.covers(general[:1], 1).tolist() == [[True, False, False]]
    tied = torch.tensor([[2.0, -3.0, -3.0, -3.0, 1.0, -3.0]])
    assert ensemble.gate.covers(tied, 2).tolist() == [[True, False, True]]
    assert ensemble.gate.covers(tied, 100).all()


def test_the_correction_raises_the_dustbin():
    ensemble, _ = fixed_ensemble()
    raw = ensemble.specialists[0].table[0]
    special, dustbin = ensemble.said(ensemble.ask(torch.zeros(1, 1), torch.tensor([[True, False, False]])), CORRECTION)
    expected = (raw + torch.tensor([0.0, 0.0, 0.7])).softmax(dim=0)
    torch.testing.assert_close(torch.cat([special[0, 0], dustbin[0, :1]]), expected)


def test_alone_heard_is_the_answer_where_one_covers():
    ensemble, _ = fixed_ensemble()
    inputs = torch.arange(4.0)[:, None]
    _, answers = ensemble.forward_all(inputs)
    torch.testing.assert_close(answers[0, 0].exp(), ensemble(inputs).probabilities[0])
    torch.testing.assert_close(answers[3, 2].exp(), ensemble(inputs).probabilities[3])


def test_a_specialist_starts_as_the_generalist():
    torch.manual_seed(0)
    student = StudentSettings(family="mlp", width=7)
    _, transform, raw = CASES["table-mlp"][0]()
    inputs = transform.to_tensor(torch.from_numpy(transform.encode(raw)))
    generalist = create_student(student, transform.input_shape, 6)
    specialist = new_class_specialist(student, transform.input_shape, 2)
    start_from_generalist(specialist, generalist.stages, torch.tensor([4, 1]))
    told, whole = specialist(inputs), generalist(inputs)
    torch.testing.assert_close(told[:, :2], whole[:, [4, 1]])
    torch.testing.assert_close(told[:, 2], whole[:, [0, 2, 3, 5]].mean(dim=1) + np.log(4))


@pytest.mark.parametrize(("classes", "each", "expected"), [(150, 20, 20), (150, None, 75), (10, None, 5), (3, 2, None)])
def test_the_size_of_sets(classes, each, expected):
    settings = MixtureSettings(method="hinton-specialists", num_domains=4, classes_each=each)
    if expected is None:
        with pytest.raises(UserError, match="classes_each"):
            classes_each(settings, classes)
    else:
        assert classes_each(settings, classes) == expected


@pytest.mark.parametrize("other", [{"trunk_stages": 1}, {"classes_per_specialist": 2}])
def test_settings_of_other_methods_are_refused(other):
    with pytest.raises(ValueError, match="leave these out"):
        MixtureSettings(method="hinton-specialists", **other)


@pytest.mark.parametrize("case", ["table-mlp", "image-resnet", "text-bag"])
def test_a_bundle_says_the_same(case, tmp_path):
    source, student, _ = CASES[case]
    schema, transform, raw = source()
    torch.manual_seed(1)
    student = StudentSettings.model_validate(student)
    settings = MixtureSettings(method="hinton-specialists", num_domains=3, classes_each=2, top_n=2)
    ensemble = build_ensemble(settings, student, transform.input_shape, len(CLASSES), SETS, CORRECTION)
    ensemble.classes, ensemble.transform, ensemble.schema = CLASSES, transform, schema
    ensemble.inference = InferenceSettings()
    save_bundle(ensemble, tmp_path / "bundle", student=student, settings=settings, measured={})
    loaded = load_bundle(tmp_path / "bundle", max_resident=1)
    assert isinstance(loaded, SpecialistEnsemble)
    assert loaded.top_n == 2
    np.testing.assert_array_equal(loaded.predict_proba(raw), ensemble.predict_proba(raw))
    known = inspect_bundle(tmp_path / "bundle", verify=True)
    assert known["costs"]["router"]["params"] == sum(p.numel() for p in ensemble.gate.parameters())
    with pytest.raises(UserError, match="agrees with them"):
        mixture_fragments(loaded)
    assert "generalist answers" in (tmp_path / "bundle" / "README.md").read_text()
