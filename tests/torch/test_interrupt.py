"""Ctrl-C, by real signals in real processes."""

from __future__ import annotations

import signal
import sys
import threading

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cyclr import _rng as rng
from cyclr.torch import preserved
from tests import forked

PROGRAM = """
import os, signal, torch
from cyclr.torch import preserved
from cyclr import _rng as rng
from tests.torch.digest import digest
from tests.torch.networks import training

torch.set_num_threads(1)
made = training("AdamW")
look = lambda: digest(made.model, made.optimizer, **made.parts())
before = look()
try:
    with preserved(made.model, made.optimizer, **made.parts()):
        print("ready", flush=True)
        while True:
            made.epoch()
except KeyboardInterrupt:
    print("interrupted from outside:", look() == before)

struck, set_state = [], rng.set_state
def strike(source, state):
    if not struck:
        struck.append(1)
        os.kill(os.getpid(), signal.SIGINT)  # in the middle of putting things back
        for _ in range(1000):
            pass
    set_state(source, state)
rng.set_state = strike
try:
    with preserved(made.model, made.optimizer, **made.parts()):
        made.epoch()
    print("not interrupted")
except KeyboardInterrupt:
    print("interrupted while putting back:", look() == before)
print("old handler:", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_everything_is_as_it_was_after_ctrl_c_which_waits_while_things_are_put_back() -> None:
    process = forked.Program("-c", PROGRAM, needs=forked.TORCH)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert out.splitlines() == [
        "interrupted from outside: True",
        "interrupted while putting back: True",
        "old handler: True",
    ]


def test_the_handler_of_before_is_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with preserved(nn.Linear(1, 1)):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_was_set_inside_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        with preserved(nn.Linear(1, 1)):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_inside_the_block_interrupts_it_at_once_and_only_once() -> None:
    model = nn.Linear(1, 1)
    weight = model.weight.detach().clone()
    with pytest.raises(KeyboardInterrupt), preserved(model), preserved(model):
        nn.init.zeros_(model.weight)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the signal was held back")
    assert torch.equal(model.weight, weight)


def test_it_works_in_a_thread_where_signals_do_not_arrive() -> None:
    model = nn.Linear(1, 1)
    weight = model.weight.detach().clone()

    def work() -> None:
        with preserved(model):
            nn.init.zeros_(model.weight)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert torch.equal(model.weight, weight)


def test_ctrl_c_while_the_state_is_taken_in_comes_before_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, state, struck = signal.getsignal(signal.SIGINT), rng.state, []

    def strike(source: object) -> object:
        if not struck:
            struck.append(1)
            signal.raise_signal(signal.SIGINT)
        return state(source)

    monkeypatch.setattr(rng, "state", strike)
    loader = DataLoader(TensorDataset(torch.ones(8)), num_workers=1, persistent_workers=True)
    batches = iter(loader)
    with pytest.raises(KeyboardInterrupt), preserved(nn.Linear(1, 1), loader=loader):
        pytest.fail("the block was entered")
    assert loader._iterator is batches
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(list(batches)) == 8


def leave(number: int, frame: object) -> None:
    sys.exit(143)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD])
@pytest.mark.parametrize("inside", [True, False], ids=["set in the block", "set before"])
def test_a_handler_that_raises_waits_for_the_restore(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, inside: bool
) -> None:
    model, before, set_state, struck = nn.Linear(1, 1), signal.getsignal(number), rng.set_state, []
    weight = model.weight.detach().clone()

    def strike(source: object, state: object) -> None:
        if not struck:
            struck.append(1)
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGINT)
        set_state(source, state)

    monkeypatch.setattr(rng, "set_state", strike)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    try:
        signal.signal(number, signal.SIG_DFL if inside else leave)
        with pytest.raises((SystemExit, KeyboardInterrupt)), preserved(model):
            signal.signal(number, leave)
            nn.init.uniform_(model.weight)
        assert struck
        assert signal.getsignal(number) is leave
    finally:
        signal.signal(number, before)
    assert torch.equal(model.weight, weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_handler_that_does_not_raise_is_called_and_the_block_stays_protected(monkeypatch: pytest.MonkeyPatch) -> None:
    model, called, state = nn.Linear(1, 1), [], rng.state
    weight, before = model.weight.detach().clone(), signal.getsignal(signal.SIGTERM)

    def strike(source: object) -> object:
        signal.raise_signal(signal.SIGTERM)
        return state(source)

    monkeypatch.setattr(rng, "state", strike)
    try:
        signal.signal(signal.SIGTERM, lambda *_: called.append(1))
        with preserved(model):
            assert called == [1]
            nn.init.zeros_(model.weight)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert torch.equal(model.weight, weight)


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), RuntimeError("no")], ids=repr)
def test_what_fails_while_it_is_put_back_is_tried_again_and_the_error_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    model, failing, set_state = nn.Linear(1, 1), [error], rng.set_state
    weight, state = model.weight.detach().clone(), torch.get_rng_state()

    def fails_once(source: object, value: object) -> None:
        if failing:
            raise failing.pop()
        set_state(source, value)

    monkeypatch.setattr(rng, "set_state", fails_once)
    with pytest.raises(type(error)), preserved(model):
        nn.init.uniform_(model.weight)
    assert torch.equal(model.weight, weight)
    assert torch.equal(torch.get_rng_state(), state)
