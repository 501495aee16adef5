"""The designer in a real browser: its numbers are Python's, its code runs, and it is used by mouse, finger and keys."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cyclr
from cyclr import Bounds, ExpRange, Linear, Opposed, Schedule, Sequential, Take, parse, policy, report
from cyclr._page.views import Draft, Reading
from cyclr._policies import POLICIES
from tests.report.browser import PHONE, opened, until
from tests.report.made import LOSSES, RATES, a_plan, curve, soup

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CYCLICAL = ("auto", "triangular", "triangular2", "exp_range", "warm_restarts", "Hann", "Welch")
AT_ZERO = ("auto", "linear", "cosine", "rex", "wsd", "one_cycle", "warm_restarts", "Power")
SHAPES = ("Hann", "Welch", "Power", "InverseSqrt")
ASK = """all => all.map(({settings, at}) => {
  const made = cyclr.designed(settings);
  if (made.problem) return made;
  return {
    problem: "", text: String(made.schedule), ends: made.ends, rates: at.map((step) => made.schedule.at(step)),
    momentum: made.momentum ? at.map((step) => made.momentum.at(step)) : null,
  };
})"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("designer")
    drafts = {
        "curve": Draft(Reading.of(curve()), 11_700, 390),
        "plan": Draft(a_plan()),
        "bounds": Draft(Bounds(0.001, 0.01)),
        "inconclusive": Draft(Reading.of(curve(losses=np.full((1, 80), 2.0)))),
    }
    for name, draft in drafts.items():
        report.write(folder / f"{name}.html", draft)
    return {name: folder / f"{name}.html" for name in drafts}


# ---------------------------------------------------------------- the same numbers as Python's


def settings_of(chance: random.Random, name: str) -> dict[str, Any]:
    """Random settings that make a schedule."""
    base_lr, max_lr = sorted(10 ** chance.uniform(-6, 0.5) for _ in range(2))
    if chance.random() < 0.3:
        base_lr, max_lr = (float(f"{rate:.3g}") for rate in (base_lr, max_lr))
    if chance.random() < 0.1:
        max_lr = 0.3125  # a tenth of it lies half-way between two numbers of three digits
    steps = chance.choice([chance.randint(60, 300), chance.randint(300, 50_000)])
    inner = max(20, steps // 2)
    cycles = chance.randint(1, 4 if name == "warm_restarts" else max(1, min(12, inner // 4)))
    if name == "warm_restarts":
        cycles = min(cycles, (inner // 2 + 1).bit_length() - 1)
    return {
        "base_lr": min(base_lr, max_lr), "max_lr": max_lr, "policy": name, "steps": steps, "cycles": cycles,
        "warm_up": chance.choice([0, 1, chance.randint(1, steps // 4)]),
        "final_decay": chance.choice([0, 1, chance.randint(1, steps // 4)]),
        "momentum": chance.choice([None, [0.85, 0.95], sorted([chance.random(), chance.random()])]),
    }  # fmt: skip


def in_python(its: dict[str, Any]) -> Schedule:
    """What the settings mean: the policy, a warm-up before it, a decay to zero after it."""
    name, bounds = its["policy"], Bounds(its["base_lr"], its["max_lr"])
    before = 0 if name == "wsd" else its["warm_up"]
    after = 0 if name in AT_ZERO else its["final_decay"]
    steps = its["steps"] - before - after
    inner = with_cycles(name, bounds, steps, its["cycles"], warm_up=before)
    parts = [inner]
    if before:
        parts.insert(0, Linear(0, inner(0), steps=before))
    if after:
        parts.append(Linear(inner(steps), 0, steps=after))
    return Sequential(*parts) if len(parts) > 1 else inner


def with_cycles(name: str, bounds: Bounds, steps: int, cycles: int, *, warm_up: int = 0) -> Schedule:
    """A policy with a number of cycles, which Python's own derives from the epochs."""
    period = -(-steps // cycles)
    halves = {"step_size": period // 2, "step_size_down": period - period // 2}
    match name:
        case "auto" | "triangular":
            return cyclr.plan(bounds, steps=steps, cycles=cycles, anneal=name == "auto").schedule
        case "triangular2":
            return cyclr.Triangular2(bounds.base_lr, bounds.max_lr, **halves).take(steps)
        case "exp_range":
            gamma = 0.08 ** (1 / steps)
            return ExpRange(bounds.base_lr, bounds.max_lr, **halves, gamma=gamma).take(steps)
        case "warm_restarts":
            period = -(-steps // (2**cycles - 1))
            return cyclr.WarmRestarts(0, bounds.max_lr, period=period, growth=2).take(steps)
        case "Hann":
            return cyclr.Hann(bounds.base_lr, bounds.max_lr, **halves).take(steps)
        case "Welch":
            return cyclr.Welch(bounds.base_lr, bounds.max_lr, **halves).take(steps)
        case "Power":
            return cyclr.Power(bounds.max_lr, 0, steps=steps, power=2)
        case "InverseSqrt":
            return cyclr.InverseSqrt(bounds.max_lr, timescale=warm_up or -(-steps // 10)).take(steps)
    return policy(name, bounds, steps=steps)


def same(found: Schedule, expected: Schedule) -> bool:
    """Equal, but for the last bit of a power, which C and JavaScript round differently."""
    if isinstance(found, Sequential) and isinstance(expected, Sequential):
        return len(found.parts) == len(expected.parts) and all(map(same, found.parts, expected.parts))
    if isinstance(found, Take) and isinstance(expected, Take):
        return found.steps == expected.steps and same(found.schedule, expected.schedule)
    return bool(found == expected) or close(found, expected)


def close(found: Schedule, expected: Schedule) -> bool:
    numbers, others = (re.findall(r"[-\d.e]*\d[-\d.e]*", repr(each)) for each in (found, expected))
    return re.sub(r"[-\d.e]*\d[-\d.e]*", "#", repr(found)) == re.sub(r"[-\d.e]*\d[-\d.e]*", "#", repr(expected)) and (
        np.allclose([float(number) for number in numbers], [float(number) for number in others], rtol=1e-13, atol=0)
    )


def test_a_thousand_random_schedules_are_pythons(browser: Browser, files: dict[str, Path]) -> None:
    chance = random.Random(0)
    asked = []
    for index in range(1000):
        names = [*POLICIES, *SHAPES]
        its = settings_of(chance, names[index % len(names)])
        if its["policy"] == "fixed" and not its["warm_up"] and not its["final_decay"]:
            its["momentum"] = None  # there is nothing to oppose
        ends = [0, 1, its["steps"] - 1, its["steps"], its["steps"] + 7]
        asked.append({"settings": its, "at": [*ends, *(chance.randint(0, its["steps"]) for _ in range(40))]})
    with opened(browser, files["bounds"]) as page:
        answers = page.evaluate(ASK, asked)
    for question, answer in zip(asked, answers, strict=True):
        its, steps = question["settings"], np.array(question["at"])
        assert answer["problem"] == "", its
        expected = in_python(its)
        schedule = parse(answer["text"])
        assert same(schedule, expected), (its, schedule, expected)
        np.testing.assert_allclose(answer["rates"], schedule(steps), rtol=1e-12, atol=1e-18, err_msg=str(its))
        np.testing.assert_allclose(answer["rates"], expected(steps), rtol=1e-11, atol=1e-17, err_msg=str(its))
        assert tuple(answer["ends"]) == expected.cycle_ends(until=its["steps"]), its
        if its["momentum"] is None:
            assert answer["momentum"] is None
        else:
            momentum = Opposed(schedule, *its["momentum"])(steps)
            np.testing.assert_allclose(answer["momentum"], momentum, rtol=1e-11, atol=1e-14, err_msg=str(its))


def test_the_comparison_can_fail() -> None:
    one = Linear(0, 0.1, steps=10) >> Linear(0.1, 0, steps=90)
    assert same(one, Linear(0, 0.1, steps=10) >> Linear(0.1, 0, steps=90))
    assert not same(one, Linear(0, 0.1, steps=10) >> Linear(0.1, 0, steps=91))
    assert not same(one, Linear(0, 0.1, steps=10) >> Linear(0.1000001, 0, steps=90))


def test_rounding_is_pythons(browser: Browser, files: dict[str, Path]) -> None:
    chance = random.Random(1)
    halves = [number + 0.5 for number in range(40)]
    rates = [2.0**power for power in range(-30, 3)] + [10 ** chance.uniform(-8, 1) for _ in range(500)]
    with opened(browser, files["bounds"]) as page:
        assert page.evaluate("all => all.map(cyclr.rounded)", halves) == [round(half) for half in halves]
        for digits in (3, 12):
            found = page.evaluate(
                "([all, digits]) => all.map((rate) => cyclr.significant(rate, digits))", [rates, digits]
            )
            assert found == [float(f"{rate:.{digits}g}") for rate in rates]


def test_policies_and_their_cycles_are_pythons(browser: Browser, files: dict[str, Path]) -> None:
    with opened(browser, files["bounds"]) as page:
        assert page.evaluate("Object.keys(cyclr.POLICIES)") == list(POLICIES)
        assert page.evaluate("Object.keys(cyclr.SHAPES)") == list(SHAPES)
        offered = page.evaluate("[...document.querySelectorAll('[name=policy] option')].map((one) => one.value)")
        assert offered == [*POLICIES, *SHAPES]
        for name in ("auto", "triangular", "triangular2", "exp_range", "warm_restarts"):
            for epochs in (None, 1, 8, 12, 50, 100):
                steps = 100 * (epochs or 9)
                cycles = page.evaluate("all => cyclr.cyclesFor(...all)", [name, steps, 100 if epochs else 0])
                made = with_cycles(name, Bounds(0.01, 0.1), steps, cycles)
                assert made == policy(name, Bounds(0.01, 0.1), steps=steps, steps_per_epoch=100 if epochs else None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_lr": 0.2}, "base_lr must not exceed max_lr, got 0.2 and 0.1."),
        ({"max_lr": 0}, "The bounds must be positive numbers."),
        ({"base_lr": None}, "The bounds must be positive numbers."),
        ({"steps": 19}, "The budget must be a whole number of at least 20 steps."),
        ({"steps": 100.5}, "The budget must be a whole number of at least 20 steps."),
        ({"warm_up": 90}, "Warm-up and final decay must leave at least 20 of the 100 steps."),
        ({"final_decay": -1}, "Warm-up and final decay must be whole numbers of steps."),
        ({"cycles": 0}, "The number of cycles must be a whole number."),
        ({"cycles": 51}, "51 cycles need at least 102 steps."),
        ({"momentum": [0.95, 0.85]}, "Momentum must rise from a low to a high value, both from 0 to below 1."),
        ({"policy": "fixed", "momentum": [0.85, 0.95]}, "Momentum can only oppose a rate that changes."),
    ],
)
def test_what_makes_no_schedule_is_said(browser: Browser, files: dict[str, Path], change: Any, said: str) -> None:
    its = {"base_lr": 0.01, "max_lr": 0.1, "policy": "triangular", "steps": 100, "cycles": 2, "warm_up": 0,
           "final_decay": 0, "momentum": None}  # fmt: skip
    with opened(browser, files["bounds"]) as page:
        (fine, wrong) = page.evaluate(ASK, [{"settings": its, "at": [0]}, {"settings": its | change, "at": [0]}])
    assert (fine["problem"], wrong["problem"]) == ("", said)


# ---------------------------------------------------------------- by mouse, finger and keys


def text(page: Page) -> Schedule:
    return parse(page.inner_text(".code"))


def test_a_plan_begins_as_it_is(browser: Browser, files: dict[str, Path]) -> None:
    with opened(browser, files["plan"]) as page:
        assert text(page) == a_plan().schedule
        assert page.locator("polyline.plan").count() == 1


def test_a_curve_begins_with_its_bounds_in_three_digits(browser: Browser, files: dict[str, Path]) -> None:
    bounds = curve().bounds()
    low, high = (float(f"{rate:.3g}") for rate in (bounds.base_lr, bounds.max_lr))
    with opened(browser, files["curve"]) as page:
        assert text(page) == policy("auto", Bounds(low, high), steps=11_700)
        assert page.locator(".bounds polyline.repeat").count() == 3
        assert page.locator(".bounds polyline.main").count() == 1


def test_an_inconclusive_curve_gives_no_result_but_a_place_to_begin(browser: Browser, files: dict[str, Path]) -> None:
    with opened(browser, files["inconclusive"]) as page:
        assert "The range test is inconclusive, so the bounds shown first are no result." in page.inner_text(
            ".designer"
        )
        assert RATES[0] < text(page).highest < RATES[-1]


def test_bounds_are_dragged(browser: Browser, files: dict[str, Path]) -> None:
    with opened(browser, files["curve"]) as page:
        before = text(page)
        place = page.locator(".max_lr circle").bounding_box()
        page.mouse.move(place["x"] + 9, place["y"] + 9)
        page.mouse.down()
        page.mouse.move(place["x"] + 60, place["y"] + 90, steps=4)
        halfway = text(page)
        page.mouse.move(place["x"] - 200, place["y"], steps=4)
        page.mouse.up()
        after = text(page)
        page.mouse.move(place["x"] + 100, place["y"])
        assert text(page) == after, "let go, it stays"
        assert after.highest < before.highest < halfway.highest
        assert page.input_value("[name=max_lr]") == f"{after.highest:.10g}"
        low, high = (float(page.get_attribute(f".{name}", "aria-valuenow")) for name in ("base_lr", "max_lr"))
        assert low <= high == after.highest, "the lower bound gave way"


def test_bounds_are_dragged_by_a_finger(browser: Browser, files: dict[str, Path]) -> None:
    with opened(browser, files["curve"], **PHONE) as page:
        before = text(page)
        place = page.locator(".max_lr circle").bounding_box()
        x, y = place["x"] + 9, place["y"] + 9
        finger = page.context.new_cdp_session(page)
        for kind, points in (
            ("touchStart", [(x, y)]), ("touchMove", [(x - 20, y)]), ("touchMove", [(x - 60, y + 5)]), ("touchEnd", []),
        ):  # fmt: skip
            touches = [{"x": left, "y": top} for left, top in points]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
        until(page, f"Number(document.querySelector('[name=max_lr]').value) < {before.highest!r}")
        assert text(page).highest < before.highest


def test_bounds_are_moved_by_keys(browser: Browser, files: dict[str, Path]) -> None:
    with opened(browser, files["bounds"]) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "base_lr"
        page.keyboard.press("Tab")
        rates = [text(page).highest]
        for key in ("ArrowRight", "PageUp", "ArrowLeft", "PageDown", "End", "Home"):
            page.keyboard.press(key)
            rates.append(text(page).highest)
        right, far, left, back, most, least = rates[1:]
        assert rates[0] == 0.01
        assert rates[0] < right < far
        assert left < far
        assert back < left
        assert (most, least) == (1.0, 0.00001)
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "max_lr", "it stays in focus"


def test_the_controls_change_rate_momentum_and_ends_at_once(browser: Browser, files: dict[str, Path]) -> None:
    with opened(browser, files["curve"]) as page:
        page.fill("[name=base_lr]", "0.002")
        page.fill("[name=max_lr]", "0.02")
        page.select_option("[name=policy]", "triangular")
        assert page.input_value("[name=cycles]") == "3", "what Python takes for 30 epochs"
        page.fill("[name=cycles]", "2")
        page.fill("[name=steps]", "1000")
        page.fill("[name=warm_up]", "100")
        page.fill("[name=final_decay]", "100")
        expected = Linear(0, 0.002, steps=100) >> cyclr.Triangular(0.002, 0.02, step_size=200).take(800)
        assert text(page) == expected >> Linear(0.002, 0, steps=100)
        assert page.inner_text(".ends") == "3 cycles end after step 500, 900, 1,000."
        assert page.locator(".rate line.end").count() == 3
        assert page.locator("svg.momentum").is_hidden()
        page.check("[name=opposed]")
        assert page.locator("svg.momentum polyline").is_visible()
        page.locator("[name=step]").fill("300")
        assert page.inner_text(".readout") == "step 300 (epoch 0.769): rate 0.02, momentum 0.85"
        page.hover("svg.rate", position={"x": 58, "y": 50})
        assert page.inner_text(".readout") == "step 0 (epoch 0): rate 0, momentum 0.95"
        page.fill("[name=epoch]", "")
        assert page.inner_text(".readout") == "step 0: rate 0, momentum 0.95"
        page.select_option("[name=policy]", "cosine")
        assert page.locator("[name=cycles]").is_disabled()
        assert page.locator("[name=final_decay]").is_disabled()
        assert text(page) == Linear(0, 0.02, steps=100) >> cyclr.Cosine(0.02, 0, steps=900)
        page.click("[name=restore]")
        assert text(page).duration == 11_700


def test_what_is_wrong_is_said_and_cannot_be_copied(browser: Browser, files: dict[str, Path]) -> None:
    with opened(browser, files["bounds"]) as page:
        page.fill("[name=base_lr]", "half")
        assert page.inner_text(".problem") == "The bounds must be positive numbers."
        assert page.locator("[name=copy]").is_disabled()
        assert page.inner_text(".code") == ""
        page.fill("[name=base_lr]", "5e-3")
        assert page.locator(".problem").is_hidden()
        assert text(page).highest == 0.01


@pytest.mark.parametrize("permitted", [True, False], ids=["clipboard", "selection"])
def test_the_text_is_copied(browser: Browser, files: dict[str, Path], permitted: bool) -> None:
    with opened(browser, files["curve"], permissions=["clipboard-read", "clipboard-write"]) as page:
        if not permitted:
            page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('refused')); }")
        page.click("[name=copy]")
        until(page, "document.querySelector('.said').textContent === 'Copied.'")
        assert page.evaluate("navigator.clipboard.readText()") == page.inner_text(".code")


# ---------------------------------------------------------------- the copied code runs


def copied(browser: Browser, path: Path, framework: str, momentum: bool) -> tuple[str, Schedule]:
    """The code on the clipboard, and the schedule that it is of."""
    with opened(browser, path, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.select_option("[name=policy]", "triangular2")
        page.fill("[name=warm_up]", "10")
        page.fill("[name=final_decay]", "10")
        page.fill("[name=steps]", "100")
        page.set_checked("[name=opposed]", momentum)
        schedule = text(page)
        page.select_option("[name=framework]", framework)
        page.click("[name=copy]")
        until(page, "document.querySelector('.said').textContent === 'Copied.'")
        return str(page.evaluate("navigator.clipboard.readText()")), schedule


def ran(code: str, **given: Any) -> dict[str, Any]:
    """The names that the code defines; what it uses is given."""
    exec(compile(code, "copied", "exec"), given)
    return given


both = pytest.mark.parametrize("momentum", [False, True], ids=["rate", "momentum"])


@both
def test_the_code_for_torch_runs(browser: Browser, files: dict[str, Path], momentum: bool) -> None:
    torch = pytest.importorskip("torch")
    code, schedule = copied(browser, files["curve"], "PyTorch", momentum)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    scheduler = ran(code, optimizer=optimizer)["scheduler"]
    for step in range(100):
        assert optimizer.param_groups[0]["lr"] == schedule(step)
        assert optimizer.param_groups[0]["momentum"] == (Opposed(schedule, 0.85, 0.95)(step) if momentum else 0.9)
        optimizer.step()
        scheduler.step()


@both
def test_the_code_for_optax_runs(browser: Browser, files: dict[str, Path], momentum: bool) -> None:
    pytest.importorskip("optax")
    jnp = pytest.importorskip("jax.numpy")
    code, schedule = copied(browser, files["curve"], "Optax", momentum)
    optimizer = ran(code)["optimizer"]
    weights = jnp.zeros(1)
    state = optimizer.init(weights)
    velocity = 0.0
    for step in range(30):
        change, state = optimizer.update(jnp.ones(1), state, weights)
        velocity = (Opposed(schedule, 0.85, 0.95)(step) if momentum else 0.9) * velocity + 1
        assert float(change[0]) == pytest.approx(-schedule(step) * velocity, rel=1e-4)


@both
def test_the_code_for_keras_runs(browser: Browser, files: dict[str, Path], momentum: bool) -> None:
    keras = pytest.importorskip("keras")
    code, schedule = copied(browser, files["curve"], "Keras", momentum)
    optimizer = ran(code)["optimizer"]
    weight = keras.Variable(np.zeros(1, np.float32))
    optimizer.build([weight])
    place = velocity = 0.0
    for step in range(30):
        optimizer.apply([keras.ops.ones(1)])
        velocity = (Opposed(schedule, 0.85, 0.95)(step) if momentum else 0.9) * velocity - schedule(step)
        place += velocity
        assert float(weight.numpy()[0]) == pytest.approx(place, rel=1e-4)


@both
def test_the_code_for_lightning_runs(browser: Browser, files: dict[str, Path], momentum: bool) -> None:
    lightning = pytest.importorskip("lightning")
    torch = pytest.importorskip("torch")
    code, schedule = copied(browser, files["curve"], "Lightning", momentum)
    seen: list[tuple[float, float]] = []

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: Any, _: int) -> Any:
            (group,) = self.optimizers().param_groups
            seen.append((group["lr"], group["momentum"]))
            return self.layer(batch[0]).pow(2).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    module = Net()
    ran(code, module=module)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(30, 1)))
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    lightning.Trainer(max_epochs=1, accelerator="cpu", **quiet).fit(module, data)
    opposed = Opposed(schedule, 0.85, 0.95)
    assert seen == [(schedule(step), opposed(step) if momentum else 0.9) for step in range(30)]


@both
def test_the_code_for_the_trainer_runs(
    browser: Browser, files: dict[str, Path], momentum: bool, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    code, schedule = copied(browser, files["curve"], "Trainer", momentum)
    sizes = {"vocab_size": 8, "n_positions": 4, "n_embd": 8, "n_layer": 1, "n_head": 1}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    data = [{"input_ids": torch.arange(4), "labels": torch.arange(4)} for _ in range(30)]
    arguments = transformers.TrainingArguments(
        str(tmp_path), per_device_train_batch_size=1, num_train_epochs=1, save_strategy="no", logging_steps=1,
        report_to=[], disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = transformers.Trainer(model, arguments, train_dataset=data)
    ran(code, trainer=trainer)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([schedule(step) for step in range(30)])
    if momentum:
        found = trainer.optimizer.param_groups[0]["betas"][0]
        assert found == pytest.approx(Opposed(schedule, 0.85, 0.95)(30))


# ---------------------------------------------------------------- the page


def test_the_page_is_small_and_asks_for_nothing(files: dict[str, Path]) -> None:
    html = files["curve"].read_text()
    assert len(html) < 60_000
    assert "plotly" not in html.lower()
    page = soup(html)
    assert not page(["link", "img", "iframe", "object", "embed", "base"])
    assert all(set(tag.attrs) <= {"type"} for tag in page("script"))


def test_a_name_in_a_record_cannot_end_the_script() -> None:
    harm = "</script><script>window.harm = 1</script>"
    made = curve(metrics={harm: [LOSSES] * 3})
    html = report.page(Draft(Reading.of(made, harm)))
    (data, script) = soup(html)("script")
    assert json.loads(data.text)["curve"]["name"] == harm
    assert harm not in script.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_out_of_sight(browser: Browser, files: dict[str, Path], scheme: str) -> None:
    with opened(browser, files["curve"], **PHONE, color_scheme=scheme) as page:
        page.check("[name=opposed]")
        page.select_option("[name=framework]", "Lightning")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 22, 22)"}[scheme]
        small = page.evaluate(
            "[...document.querySelectorAll('button, select, input:not([type=checkbox])')]"
            ".filter((one) => one.getBoundingClientRect().height < 24).map((one) => one.name)"
        )
        assert small == [], "controls for a finger"
