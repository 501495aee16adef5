"""Ensembles: what is averaged, at which memory, and that losses and metrics apply to the result unchanged."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, nll_loss

from cyclr import one_cycle
from cyclr.torch import Snapshots, _ensemble, ensemble, evaluate
from tests import forked

SEEDS = st.integers(0, 10_000)
cycle = one_cycle(0.1, steps=2, base_lr=0.01)


def network(seed: int, out: int = 3) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.5),
                               torch.nn.Linear(8, out))  # fmt: skip


def members(seed: int, count: int, out: int = 3) -> list[torch.nn.Module]:
    """Networks with different weights and statistics."""
    made = [network(seed + number, out) for number in range(count)]
    for model in made:
        model(torch.randn(16, 4))
        model.eval()
    return made


def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs.argmax(-1) == targets).float().mean()


@given(SEEDS, st.integers(1, 4), st.booleans())
@torch.no_grad()
def test_logits_become_logarithms_of_the_mean_probabilities(seed, count, in_memory):
    models = members(seed, count)
    x = torch.randn(5, 4)
    expected = torch.stack([model(x).softmax(-1) for model in models]).mean(0)
    together = ensemble(network(0), [model.state_dict() for model in models], "logits", in_memory=in_memory)
    torch.testing.assert_close(together(x).exp(), expected)
    torch.testing.assert_close(together(x).softmax(-1), expected)  # they are logits, too
    targets = torch.randint(3, (5,))
    torch.testing.assert_close(cross_entropy(together(x), targets), nll_loss(expected.log(), targets))


@given(SEEDS, st.lists(st.floats(0.1, 5), min_size=1, max_size=4))
@torch.no_grad()
def test_weights_of_members_count(seed, weights):
    models = members(seed, len(weights))
    states = [model.state_dict() for model in models]
    x, share = torch.randn(5, 4), torch.tensor(weights) / sum(weights)
    outputs = torch.stack([model(x) for model in models])
    values = ensemble(network(0), states, "values", weights=weights)(x)
    torch.testing.assert_close(values, (share[:, None, None] * outputs).sum(0))
    chances = ensemble(network(0), states, "logits", weights=weights)(x).exp()
    torch.testing.assert_close(chances, (share[:, None, None] * outputs.softmax(-1)).sum(0))
    binary = ensemble(network(0), states, "binary_logits", weights=weights)(x).sigmoid()
    torch.testing.assert_close(binary, (share[:, None, None] * outputs.sigmoid()).sum(0))


@torch.no_grad()
def test_probabilities_too_small_for_a_float_are_averaged():
    states = [{"weight": torch.tensor([[0.0], [400.0]])}, {"weight": torch.tensor([[0.0], [500.0]])}]
    found = ensemble(torch.nn.Linear(1, 2, bias=False), states, "logits")(torch.ones(1, 1))
    assert found[0, 0].item() == pytest.approx(-400 - 0.6931, abs=1e-3)
    binary = ensemble(torch.nn.Linear(1, 2, bias=False), states, "binary_logits")(torch.ones(1, 1))
    assert binary[0, 1].item() == pytest.approx(400 + 0.6931, abs=1e-3)  # of the smaller of 1 - p


@torch.no_grad()
def test_the_classes_of_pixels_are_in_dimension_one():
    models = [torch.nn.Conv2d(2, 3, 1) for _ in range(2)]
    x = torch.randn(2, 2, 4, 4)
    found = ensemble(models[0], [model.state_dict() for model in models], "logits", dim=1)(x)
    torch.testing.assert_close(found.exp(), torch.stack([model(x).softmax(1) for model in models]).mean(0))


@given(SEEDS, st.integers(1, 3), st.integers(1, 5))
def test_evaluate_gives_the_same_as_batch_by_batch_whatever_fits_into_memory(seed, count, batches):
    states = [model.state_dict() for model in members(seed, count)]
    torch.manual_seed(seed)
    loader = [(torch.randn(size, 4), torch.randint(3, (size,))) for size in range(1, batches + 1)]
    together = ensemble(network(0), states, "logits")
    expected = {
        "loss": sum(len(y) * cross_entropy(together(x), y).item() for x, y in loader),
        "accuracy": sum(len(y) * accuracy(together(x), y).item() for x, y in loader),
    }
    size = sum(len(y) for _, y in loader)
    for block in (0, 150, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_ensemble, "BLOCK", block)
            found = evaluate(together, loader, cross_entropy, {"accuracy": accuracy})
        assert found == pytest.approx({name: value / size for name, value in expected.items()}, abs=1e-6)


def test_each_member_is_loaded_once_for_many_batches(monkeypatch):
    states = [model.state_dict() for model in members(1, 3)]
    together = ensemble(network(0), states, "logits")
    loads = []
    real = _ensemble.load_member
    monkeypatch.setattr(_ensemble, "load_member", lambda model, member: (loads.append(1), real(model, member)))
    loader = [(torch.randn(2, 4), torch.randint(3, (2,)))] * 20
    evaluate(together, loader, cross_entropy)
    assert len(loads) == 2 * 3  # one more time to see that no batch is left


def test_batches_that_are_not_pairs_are_predicted_too():
    models = members(1, 2)
    together = ensemble(network(0), [model.state_dict() for model in models], "values")
    loader = [{"x": torch.randn(2, 4), "y": torch.randn(2, 3)}] * 3
    found = evaluate(together, loader, lambda model, batch: mse_loss(model(batch["x"]), batch["y"]))
    with torch.no_grad():
        mean = torch.stack([model(loader[0]["x"]) for model in models]).mean(0)
    assert found["loss"] == pytest.approx(mse_loss(mean, loader[0]["y"]).item(), abs=1e-6)


@torch.no_grad()
def test_neither_the_model_nor_the_random_state_nor_the_files_are_changed(tmp_path):
    model = network(5)
    snapshots = Snapshots(tmp_path, model, plan=cycle.repeat(3))
    for step in range(1, 7):
        torch.nn.init.normal_(model[0].weight)
        snapshots.step(step)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    bytes_before = [path.read_bytes() for path in snapshots.paths]
    random = torch.get_rng_state()
    found = [ensemble(model, given, "logits")(torch.ones(2, 4)) for given in (snapshots, tmp_path, snapshots.paths)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    torch.testing.assert_close(found[0], found[2], rtol=0, atol=0)
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert [path.read_bytes() for path in snapshots.paths] == bytes_before


def test_it_stays_in_evaluation_mode_so_that_dropout_and_statistics_do_not_move():
    state = members(1, 1)[0].state_dict()
    together = ensemble(network(0), [state], "logits").train()
    assert not any(module.training for module in together.modules())
    x = torch.randn(9, 4)
    assert torch.equal(together(x), together(x))


def test_one_copy_whatever_the_number_of_members():
    states = [model.state_dict() for model in members(1, 9)]
    one, all_of_them = (ensemble(network(0), states, "values", in_memory=held) for held in (False, True))
    own = len(list(network(0).parameters()))
    assert [len(list(each.parameters())) for each in (one, all_of_them)] == [own, 9 * own]
    assert len(one) == 9


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["ensemble", "average"])
def test_memory_does_not_grow_with_the_number_of_members(tmp_path, kind):
    save_file({"weight": torch.ones(3000, 3000)}, tmp_path / "one.safetensors")
    used = []
    for count in (2, 8):
        for number in range(count):
            shutil.copy(tmp_path / "one.safetensors", tmp_path / f"{number}.safetensors")
        files = [str(tmp_path / f"{number}.safetensors") for number in range(count)]
        done = forked.run("-m", "tests.torch.snapshot_memory", kind, *files, needs=forked.TORCH, check=True)
        used.append(float(done.stdout))
    assert used[1] < 1.2 * used[0] + 10
    assert used[1] < 4 * 36  # MB: copies of the model, and one file


class Answer(dict):
    """What Transformers' models return is a mapping with attributes, too."""

    def __init__(self, logits=None, loss=None) -> None:
        super().__init__({key: value for key, value in (("logits", logits), ("loss", loss)) if value is not None})
        self.logits, self.loss = logits, loss


class Speaking(torch.nn.Linear):
    def forward(self, x):
        logits = super().forward(x)
        return Answer(logits, logits.sum())


@torch.no_grad()
def test_of_an_object_with_logits_only_they_are_given_as_no_loss_is_that_of_the_ensemble():
    models = [Speaking(2, 2) for _ in range(2)]
    found = ensemble(models[0], [model.state_dict() for model in models], "logits")(torch.ones(1, 2))
    expected = torch.stack([model(torch.ones(1, 2)).logits.softmax(-1) for model in models]).mean(0)
    torch.testing.assert_close(found.logits.exp(), expected)
    assert found.loss is None


def test_files_of_torch_save_do_too(tmp_path):
    models = members(3, 2)
    for number, model in enumerate(models):
        torch.save(model.state_dict(), tmp_path / f"{number}.pt")
    files = [str(tmp_path / f"{number}.pt") for number in range(2)]
    x = torch.ones(1, 4)
    expected = ensemble(network(0), [model.state_dict() for model in models], "logits")(x)
    torch.testing.assert_close(ensemble(network(0), files, "logits")(x), expected, rtol=0, atol=0)


def test_binary_losses_apply():
    models = members(3, 2, out=1)
    together = ensemble(network(0, 1), [model.state_dict() for model in models], "binary_logits")
    loader = [(torch.randn(4, 4), torch.tensor([[0.0], [1.0], [1.0], [0.0]]))]
    with torch.no_grad():
        chance = torch.stack([model(loader[0][0]).sigmoid() for model in models]).mean(0)
    expected = torch.nn.functional.binary_cross_entropy(chance, loader[0][1]).item()
    assert evaluate(together, loader, binary_cross_entropy_with_logits)["loss"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "options", "error", "match"),
    [
        ([], {}, ValueError, "snapshots must hold at least one"),
        (3, {}, TypeError, "snapshots must be several sets of weights"),
        ([3], {}, TypeError, "a snapshot must be a file or a state_dict"),
        (["nowhere.safetensors"], {}, ValueError, "a snapshot must be a file, got 'nowhere.safetensors'"),
        ([{"a": torch.ones(1)}], {}, ValueError, "a state_dict in snapshots must hold weights of the same model"),
        ([network(0).state_dict()], {"outputs": "probabilities"}, ValueError, "outputs must be one of"),
        ([network(0).state_dict()], {"weights": [1, 2]}, ValueError, "one positive number for each of the 1 members"),
        ([network(0).state_dict()], {"weights": [0]}, ValueError, "one positive number for each"),
        ([network(0).state_dict()], {"model": torch.nn.Linear}, TypeError, "model must be a torch.nn.Module"),
    ],
)
def test_bad_arguments_are_refused(given, options, error, match):
    with pytest.raises(error, match=match):
        ensemble(**{"model": network(0), "snapshots": given, "outputs": "logits"} | options)(torch.ones(1, 4))


def test_another_models_file_is_refused_before_one_is_loaded():
    with tempfile.TemporaryDirectory() as folder:
        Snapshots(folder, torch.nn.Linear(1, 1), plan=cycle).step(2)
        with pytest.raises(ValueError, match=r"must hold weights of the same model: 0\.bias is missing"):
            ensemble(network(0), Path(folder), "logits")


def test_outputs_that_are_no_predictions_are_refused():
    class Pair(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    class Labels(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x).argmax(-1)

    for kind, match in ((Pair, "must return a tensor, or an object with logits"), (Labels, "outputs must be floats")):
        model = kind(1, 2)
        with pytest.raises(TypeError, match=match):
            ensemble(model, [model.state_dict()], "logits")(torch.ones(1, 1))
