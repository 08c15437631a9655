"""From settings to a teacher."""

from __future__ import annotations

from collections.abc import Callable

from moist.data import DataSplits
from moist.teachers.ensemble import EnsembleTeacher
from moist.teachers.interface import Teacher
from moist.teachers.settings import TeacherSettings

__all__ = ["load_teacher"]


def load_teacher(settings: TeacherSettings, splits: DataSplits, quiet: bool = False) -> Teacher:
    """Build the teacher that ``settings`` describe, for the classes of a data set.

    Args:
        settings: which teacher.
        splits: the data; a teacher that needs fitting is fitted on the training part alone, when a signal is first
            asked for.
        quiet: show no progress while fitting.

    Raises:
        UserError: the teacher cannot be loaded, does not read this kind of data, or has other classes.
    """
    return BUILDERS[settings.kind](settings, splits, quiet)


# Each kind is imported when it is asked for: some take seconds to import, some need an extra.


def _torch(settings: TeacherSettings, splits: DataSplits, _quiet: bool) -> Teacher:
    from moist.teachers.torch_teacher import TorchTeacher

    return TorchTeacher(settings, splits)


def _huggingface(settings: TeacherSettings, splits: DataSplits, _quiet: bool) -> Teacher:
    from moist.teachers.huggingface import HuggingFaceTeacher

    return HuggingFaceTeacher(settings, splits)


def _sentence_encoder(settings: TeacherSettings, splits: DataSplits, quiet: bool) -> Teacher:
    from moist.teachers.sentence import SentenceEncoderTeacher

    return SentenceEncoderTeacher(settings, splits, quiet=quiet)


def _sklearn(settings: TeacherSettings, splits: DataSplits, quiet: bool) -> Teacher:
    from moist.teachers.sklearn_teacher import SklearnTeacher

    return SklearnTeacher(settings, splits, quiet=quiet)


def _lightgbm(settings: TeacherSettings, splits: DataSplits, quiet: bool) -> Teacher:
    from moist.teachers.lightgbm_teacher import LightGBMTeacher

    return LightGBMTeacher(settings, splits, quiet=quiet)


def _ensemble(settings: TeacherSettings, splits: DataSplits, quiet: bool) -> Teacher:
    return EnsembleTeacher([load_teacher(member, splits, quiet) for member in settings.members], settings.name)


BUILDERS: dict[str, Callable[[TeacherSettings, DataSplits, bool], Teacher]] = {
    "torch": _torch,
    "huggingface": _huggingface,
    "sentence-encoder": _sentence_encoder,
    "sklearn": _sklearn,
    "lightgbm": _lightgbm,
    "ensemble": _ensemble,
}
