from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from cyclr import Constant
from cyclr.tasks import _find
from cyclr.tasks.tabular import tabular
from cyclr.torch import train

HEAD = "carat,cut,price,depth"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Diamonds whose price is 1,000 times their weight, and 500 more if their cut is ideal."""
    rng = np.random.default_rng(0)
    lines = [HEAD]
    for number in range(500):
        carat, cut = rng.uniform(0.2, 2), rng.choice(["Ideal", "Good"])
        depth = "" if number % 10 == 0 else f"{rng.normal():.3f}"
        lines.append(f'{carat},"{cut}",{1000 * carat + 500 * (cut == "Ideal")},{depth}')
    path = tmp_path / "my diamonds.csv"
    path.write_text("\n".join(lines))
    return path


def test_numbers_are_predicted_in_their_own_unit(table: Path) -> None:
    task = tabular(0, data=table, target="price")
    assert [len(loader.dataset) for loader in (task.train_loader, task.test_loader)] == [400, 100]
    before, after = train(task, Constant(3e-3), steps=200, eval_every=100)
    assert after["test_mae"] < 40 < 10 * before["test_mae"]


def test_columns_are_standardised_and_missing_numbers_and_words_have_their_own(table: Path) -> None:
    task = tabular(0, data=table, target="price")
    inputs = task.train_loader.dataset.tensors[0]
    assert inputs.shape[1] == 1 + 2 + 2  # carat; one for each cut; depth and whether it is missing
    assert inputs[:, 0].mean().item() == pytest.approx(0, abs=1e-5)
    assert inputs[:, 0].std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(inputs[:, 1] + inputs[:, 2], torch.ones(400))
    missing = inputs[:, 4] == 1
    assert 25 < missing.sum() < 55
    assert not inputs[missing, 3].any()


def test_words_and_numbers_on_request_are_classes(table: Path) -> None:
    task = tabular(0, data=table, target="cut")
    (point,) = train(task, Constant(3e-3), steps=100, eval_every=100)
    assert point["test_accuracy"] > 0.8  # the price tells the cut
    lines = table.read_text().splitlines()
    table.with_name("numbers.csv").write_text("\n".join([lines[0] + ",code", *(f"{line},7" for line in lines[1:])]))
    codes = tabular(0, data=table.with_name("numbers.csv"), target="code", classes=True)
    assert codes.model[-1].out_features == 1


def test_the_test_rows_are_the_same_for_every_seed_and_tuning_hides_them(table: Path) -> None:
    one, other, tuned = (tabular(seed, data=table, target="price", tuning=seed == 2) for seed in range(3))
    assert torch.equal(one.test_loader.dataset.tensors[0], other.test_loader.dataset.tensors[0])
    assert tuned.test_loader is None
    assert [len(loader.dataset) for loader in (tuned.train_loader, tuned.val_loader)] == [360, 40]


def test_a_gzipped_file_gives_the_same(table: Path) -> None:
    packed = table.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(table.read_bytes()))
    one, other = (tabular(0, data=path, target="price").test_loader.dataset.tensors for path in (table, packed))
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_it_can_be_named_with_its_arguments(table: Path) -> None:
    text = f"tabular(data={str(table)!r}, target='price')"
    assert _find.build(text, 0, tuning=True).val_loader is not None
    assert "tuning" in _find.arguments(text)
    assert _find.fingerprint("tabular") == ""


def test_a_changed_file_is_another_task(table: Path) -> None:
    text = f"tabular(data={str(table)!r}, target='price')"
    before = _find.fingerprint(text)
    assert len(before) == 12
    os.utime(table, (1, 1))  # a copy of the same content
    assert _find.fingerprint(text) == before
    content = table.read_text()
    table.write_text(content.replace("Ideal", "Idael"))
    assert _find.fingerprint(text) != before
    folder = f"sentences(data={str(table.parent)!r})"
    before = _find.fingerprint(folder)
    table.write_text(content)
    assert _find.fingerprint(folder) != before
    assert _find.fingerprint("sentences(data='/nowhere')") == ""
    assert _find.fingerprint(f"sentences(data={'x' * 5000!r})") == ""


def test_a_large_file_is_told_by_its_size_and_time(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_find, "SMALL", 10)
    text = f"tabular(data={str(table)!r}, target='price')"
    before = _find.fingerprint(text)
    os.utime(table, (1, 1))
    assert _find.fingerprint(text) != before


@pytest.mark.parametrize(
    ("change", "target", "words"),
    [
        (
            ("carat", "inf"),
            "price",
            "the column carat of .* must have finite numbers, got 'inf'; leave the field empty",
        ),
        (("carat", "1e999"), "price", "the column carat of .* must have finite numbers, got 'inf'"),
        (("price", "-Infinity"), "price", "the column price of .* must have finite numbers, got '-inf'"),
        (("price", "-nan"), "price", "the column price of .* must have finite numbers, got 'nan'"),
    ],
)
def test_numbers_that_are_not_finite_are_named(table: Path, change: tuple[str, str], target: str, words: str) -> None:
    head, first, *rest = table.read_text().splitlines()
    fields = first.split(",")
    fields[head.split(",").index(change[0])] = change[1]
    table.write_text("\n".join([head, ",".join(fields), *rest]))
    with pytest.raises(ValueError, match=words):
        tabular(0, data=table, target=target)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tabular(data=3 +)", "arguments must be constants by name, as in tabular"),
        ("tabular('a.csv')", "arguments must be constants by name"),
        ("tabular(data=open('a'))", "arguments must be constants by name"),
        ("tabular(traget='price')", "has no argument 'traget'; did you mean 'target'"),
        ("tabula(target='price')", "unknown task 'tabula'; did you mean 'tabular'"),
        ("tabular(target='price')", "needs the path of its data"),
    ],
)
def test_wrong_texts_are_one_line(text: str, words: str) -> None:
    with pytest.raises(_find.TaskError, match=words) as caught:
        _find.build(text, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "settings", "error", "words"),
    [
        (None, {"target": "prise"}, ValueError, "target must be a column of .*carat, cut, price, depth.*did you mean"),
        (None, {"target": None}, ValueError, "target must be a column of"),
        (None, {"target": 3}, TypeError, "target must be the name of a column"),
        (None, {"target": "cut", "classes": False}, ValueError, "cut must be numbers for classes=False"),
        (None, {"target": "depth"}, ValueError, "every row of .* must have a depth"),
        (None, {"target": "carat", "classes": True}, ValueError, "carat must have at most 100 classes"),
        (None, {"data": "/nowhere.csv"}, FileNotFoundError, "existing CSV file, got '/nowhere.csv'; pass data=FILE"),
        (None, {"data": None}, FileNotFoundError, "needs the path of its data, got None; pass data=FILE and target"),
        ("", {}, ValueError, "at least 10 rows, and 2 columns"),
        ("a,b\n1,2\n3\n", {}, ValueError, "row 3 of .* must have 2 columns, got 1"),
        ("a,price\n" + "\n".join(f"w{n},{n}" for n in range(200)), {}, ValueError, "column a of .* at most 100 values"),
    ],
)
def test_what_is_wrong_is_one_line(
    table: Path, content: str | None, settings: dict, error: type[Exception], words: str
) -> None:
    if content is not None:
        table = table.with_name("other.csv")
        table.write_text(content)
    with pytest.raises(error, match=words) as caught:
        tabular(0, **{"data": table, "target": "price", **settings})
    assert "\n" not in str(caught.value)
