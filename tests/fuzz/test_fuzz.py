"""Every input of the corpus is run again; and a bounded run of the fuzzer itself."""

import importlib.util
import inspect

import pytest
from tests.fuzz import TARGETS, __main__

RUNS = 1200
"""Inputs that the fuzzer makes up for each target in a test run."""


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_raises_nothing(target):
    one = __main__.load(target)
    inputs = __main__.corpus(target)
    assert inputs, f"no corpus: python -m tests.fuzz {target} --grow"
    for data in inputs.values():
        one(data)


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_raise_nothing(target):
    for seed in importlib.import_module(f"tests.fuzz.{target}").seeds():
        __main__.load(target)(seed)


def test_the_corpus_is_small():
    sizes = [len(data) for target in TARGETS for data in __main__.corpus(target).values()]
    assert sum(sizes) < 500_000
    assert max(sizes) <= __main__.MAX_LENGTH


def test_each_target_says_what_an_input_is():
    for target in TARGETS:
        module = importlib.import_module(f"tests.fuzz.{target}")
        assert "An input is" in (inspect.getdoc(module) or "")


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed: pip install atheris"
)
@pytest.mark.parametrize("target", TARGETS)
def test_made_up_inputs_raise_nothing(target):
    result = __main__.run(target, RUNS)
    print(f"{target}: {result.inputs:,} mutated inputs, {result.exceptions} exceptions")
    assert not result.exceptions, result.said
    assert result.inputs >= RUNS
