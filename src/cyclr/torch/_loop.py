"""`auto` for a training whose step is no function, but the body of a loop."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from torch.optim import Optimizer

from cyclr._check import problem
from cyclr._goals import GOAL_0_1, Goal
from cyclr._range import Answer, Curve, Kind, Recorder, Search, tests_of
from cyclr._range.walk import walking
from cyclr._renamed import renamed
from cyclr._rng import same_draws
from cyclr.torch._auto import Prepared, resumed
from cyclr.torch._batches import checked_loss, in_order, length
from cyclr.torch._parts import Models, parts_of
from cyclr.torch._restore import preserved
from cyclr.torch._restore.reachable import Closed, is_own
from cyclr.torch._scheduler import Scheduler
from cyclr.torch._training import Training, measured, recorder_of
from cyclr.torch._watch import Watch

_MOST = 1000  #: batches without a step


_log = logging.getLogger("cyclr")


class AutoLoop(Closed):
    """What `auto` does, for programs whose training step is the body of a `for` loop: stands in for the loader.

    The first pass begins with the range test: the loop is given batches at rising rates, and reports the loss of each
    step by `step`. Then all is restored, the rates are planned, and the batches of the training follow, whose steps
    drive the scheduler by the same call. Attributes and the length are the loader's.

    Restored is what `range_test` restores, with the variables of the functions (or module) that run, the
    attributes of their `self`, and what these reach. What the body of the loop does besides happens in the range test,
    too: it prints, logs, and counts elsewhere; `testing` tells. For less than 2,000 steps, the test gives the same
    three batches in turn, as copies. An error in the loop, Ctrl-C or `break` end the test,
    and all is restored, as soon as the loop lets go of its iterator: a `for` statement does so at once. Where the
    program keeps it (`batches = iter(loop)`), write `with AutoLoop(...) as loop:`.

    Args:
        model: The network, or several, as in `range_test`.
        optimizer: Its rates are set by the test and then by the scheduler. Or several, as in `range_test`.
        loader: Training batches, which are handed on as they are. Left out where the loop needs none: it is then given
            the number of the step, and ends after `steps`.
        epochs: The budget in epochs; needs a loader with a length, and one step per batch.
        steps: The budget in optimizer steps, in place of `epochs`.
        goal: What the training is for, as in `auto`.
        momentum: From and to, as in `auto`.
        search: The range test, and which of its signals the bounds are read from.
        resume: What `Scheduler.state_dict` gave, as in `auto`: no range test is made.

    Attributes:
        scheduler: The scheduler of the training; None until the range test is done.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, the budget too small, or `resume` does not fit. In the loop: if the
            loop steps at other rates than those of the test, or makes no step in 1,000 batches.
        Inconclusive: In the loop, if the range test gives no answer.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(320, 8)
    >>> data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True) + 0.1 * torch.randn(320, 1))
    >>> loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
    >>> model = torch.nn.Linear(8, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> loader = AutoLoop(model, optimizer, loader, epochs=5)
    >>> for epoch in range(5):
    ...     for inputs, targets in loader:
    ...         optimizer.zero_grad()
    ...         loss = torch.nn.functional.mse_loss(model(inputs), targets)
    ...         loss.backward()
    ...         optimizer.step()
    ...         loader.step(loss)
    >>> loader.scheduler.last_epoch, loader.scheduler.get_last_lr()
    (100, [0.0])
    """

    @renamed(GOAL_0_1)
    def __init__(
        self,
        model: Models,
        optimizer: Optimizer | Sequence[Optimizer],
        loader: Iterable[Any] | None = None,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        goal: str | Goal = "final",
        momentum: tuple[float, float] | None = None,
        search: Search = Search(),  # noqa: B008 (a frozen value)
        resume: Mapping[str, Any] | None = None,
    ) -> None:
        self.scheduler: Scheduler | None = None
        self._given = loader
        self._model, self._optimizer, self._loader, _ = parts_of(model, optimizer, loader, None, _body)
        budget = {"epochs": epochs, "steps": steps, "goal": Goal.of(goal), "momentum": momentum}
        self._prepared = Prepared.of(self._model, self._optimizer, self._loader, None, search=search, **budget)
        if loader is None:
            self._loader = _Numbers(self._prepared.total)
        self._test: Generator[Any, None, Curve] | None = None
        self._loss: torch.Tensor | None = None
        if resume is not None:
            self.scheduler = resumed(self._optimizer, resume, self._prepared)

    @property
    def testing(self) -> bool:
        """Whether the present batch belongs to the range test."""
        return self._test is not None

    def step(self, loss: torch.Tensor) -> None:
        """Report that an optimizer step was made, once after each.

        Args:
            loss: Its loss, a tensor of one number, as it was before the step. Used in the range test only.

        Raises:
            TypeError: If it is not a tensor.
            RuntimeError: If the loop is not over the batches of this object.
        """
        loss = checked_loss(loss).detach()
        if self._test is not None:
            self._loss = loss
        elif self.scheduler is not None:
            self.scheduler.step()
        else:
            raise RuntimeError("step() must be called inside a loop over this AutoLoop; write `for batch in loop:`")

    def __iter__(self) -> Iterator[Any]:
        """The batches of the range test, once; then those of one pass."""
        if self.scheduler is None:
            self.close()
            self._test = test = self._tested(_callers())
            try:
                curve = yield from test
            except GeneratorExit:
                _log.warning("the loop was left during the range test: everything is restored, and nothing was trained")
                raise
            finally:
                self._test = None
            if curve is None:  # ended from outside
                return
            self.scheduler = self._prepared.scheduler(self._optimizer, Answer(curve))
        if self._given is not None:
            yield from self._loader
        else:
            yield from range(self.scheduler.last_epoch, self._prepared.total)

    def __len__(self) -> int:
        batches = length(self._loader)
        return self._prepared.total if batches is None else batches

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or self._given is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return getattr(self._given, name)

    def close(self) -> None:
        """End a range test that is going on, and restore everything."""
        if self._test is not None:
            self._test.close()
            self._test = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _tested(self, running: list[FrameType]) -> Generator[Any, None, Curve]:
        prepared = self._prepared
        search = prepared.asked.search
        data: list[Any] = [self._loader]
        functions: list[Any] = list(running)
        if search.held_out is not None:
            data.append(search.held_out.loader)
            functions.extend(search.held_out.functions.values())
        kept = {"loader": data, "functions": functions}
        with preserved(self._model, self._optimizer, **kept) as transaction, prepared.voice:
            watch = Watch(self._optimizer)
            measure = measured(self._model, search.held_out, None, None)
            training = Training(self._model, self._optimizer, self._loader, measure, transaction, watch)
            if not self._model.training:
                self._model.train()
            how: dict[str, Any] = {"steps": search.ramp.steps, "signal": search.signal}
            tests = tests_of(
                lambda: prepared.total, evaluates=self._takes_in_turn and prepared.asked.by_reference, **how
            )
            kind = next(tests)
            with watch.objective:
                while True:
                    curve = yield from self._walked(training, self._recorder(kind))
                    try:
                        kind = tests.send(curve)
                    except StopIteration as done:
                        return watch.finish(done.value.curve)
                    training.rewind(data=True)

    @property
    def _takes_in_turn(self) -> bool:
        """Whether the loop can be given the same batches again and again, and is judged by their loss alone."""
        return self._given is not None and self._prepared.asked.search.held_out is None

    def _recorder(self, kind: Kind) -> Recorder:
        search, size = self._prepared.asked.search, self._prepared.size(kind)._asdict()
        how: dict[str, Any] = {"progress": self._prepared.voice.progress, "in_turn": self._takes_in_turn}
        recorder = recorder_of(search.ramp, search.held_out, None, **how, **size)
        recorder.in_order = in_order(self._loader, recorder.ramp.steps)
        return recorder

    def _walked(self, training: Training, recorder: Recorder) -> Generator[Any, None, Curve]:
        """As `walk` does it; here the loop that is given the batches makes the steps."""
        training.begin(recorder.extent.in_turn)
        steps = walking(training, recorder)
        loss = None
        while True:
            try:
                rate = steps.send(loss)
            except StopIteration as done:
                return done.value
            training.put(rate)
            loss = training.stepped((yield from self._until_stepped(training)))

    def _until_stepped(self, training: Training) -> Generator[Any, None, torch.Tensor]:
        """Batches until the loop reports a step: with accumulation, several."""
        self._loss = None
        for _ in range(_MOST):
            batch = next(training.batches)
            with same_draws() if training.in_turn else nullcontext():
                yield batch
            if self._loss is not None:
                return self._loss
        what = "step(loss) must be called after each optimizer step of the loop"
        raise ValueError(problem(what, f"no call in {_MOST:,} batches"))


class _Numbers:
    """In place of a loader: the numbers of the steps, from 0 again in a longer range test."""

    loaders: tuple[()] = ()  #: where batches come from: so they have no order

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._steps))


def _body(number: int) -> torch.Tensor:
    """Stands for the body of a loop where a step function is asked for."""
    raise NotImplementedError


def _callers() -> list[FrameType]:
    """The user's functions that are running: the one that asks for the first batch, and those that called it."""
    frame: FrameType | None = sys._getframe(1)
    found = []
    while frame is not None:
        if is_own(frame.f_globals.get("__name__", "")):
            found.append(frame)
        frame = frame.f_back
    return found
