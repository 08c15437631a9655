"""The examples in the docstrings of the room run, and print what they say."""

from __future__ import annotations

import doctest

import pytest

import moist.estimators

EXAMPLES = [
    test
    for name in moist.estimators.__all__
    for test in doctest.DocTestFinder(recurse=False).find(getattr(moist.estimators, name), name)
]


def test_every_public_class_has_an_example():
    assert [test.name for test in EXAMPLES if test.examples] == moist.estimators.__all__


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_examples_print_what_they_say(example):
    printed: list[str] = []
    failures, _ = doctest.DocTestRunner().run(example, out=printed.append)
    assert not failures, "".join(printed)
