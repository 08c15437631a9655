"""Teachers of all kinds behind one interface, and their signals, live or cached once per view."""

from moist.teachers.caching import cache_teacher
from moist.teachers.cifar_resnet import CifarResNet, cifar_resnet
from moist.teachers.ensemble import EnsembleTeacher
from moist.teachers.interface import Teacher
from moist.teachers.labels import match_classes
from moist.teachers.loading import load_teacher
from moist.teachers.settings import TeacherSettings
from moist.teachers.signals import SignalCache, inspect_signal_cache, open_signal_cache
from moist.teachers.sources import CachedTeacher, OnlineTeacher

__all__ = [
    "CachedTeacher",
    "CifarResNet",
    "EnsembleTeacher",
    "OnlineTeacher",
    "SignalCache",
    "Teacher",
    "TeacherSettings",
    "cache_teacher",
    "cifar_resnet",
    "inspect_signal_cache",
    "load_teacher",
    "match_classes",
    "open_signal_cache",
]
