"""What only a GPU can show, unattended: python bench/gpu.py writes bench/records/gpu.json (about five minutes).

Each part is written when it is done; a part that fails is recorded with its error, and the others go on. Without a GPU
nothing is run and the exit status is 2. Parts: the scheduler beside a CUDA graph; waits for the device in a range test;
recompilations of a compiled step while rate, beta1 and weight decay cycle; a step of ResNet-50 and of GPT-2 small with
and without the scheduler; a snapshot of 1 GB while training.

The record does not exist yet: no machine with a GPU has run this script.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from cyclr import Linear, Opposed, Ramp, Triangular
from cyclr.torch import Scheduler, preserved, range_test

RECORD = Path(__file__).parent / "records" / "gpu.json"
WAVE = Triangular(1e-5, 1e-3, step_size=50)
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "aten::item")


def milliseconds(function: Callable[[], object], steps: int) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(steps):
        function()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - begun) / steps


def graph() -> dict[str, Any]:
    """A replayed step uses each new rate: the parameter must be the sum of the rates."""
    parameter = nn.Parameter(torch.zeros(1, device="cuda"))
    parameter.grad = torch.ones(1, device="cuda")
    optimizer = torch.optim.SGD([parameter], lr=torch.tensor(0.1, device="cuda"))
    scheduler = Scheduler(optimizer, Linear(1.0, 0.0, steps=100))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        optimizer.step()
    torch.cuda.current_stream().wait_stream(stream)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        optimizer.step()
    with torch.no_grad():
        parameter.zero_()
    for _ in range(100):
        captured.replay()
        scheduler.step()
    expected = -sum(1 - step / 100 for step in range(100))
    return {"expected": expected, "found": parameter.item(), "right": abs(parameter.item() - expected) < 1e-3}


def waits() -> dict[str, Any]:
    """How often a range test of 100 steps waits for the device: once in ten steps, to read losses."""
    model = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512)).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    x = torch.randn(64, 512, device="cuda")
    found = []
    for steps in (50, 100):
        with torch.profiler.profile() as profile:
            range_test(model, optimizer, [(x, x)], functional.mse_loss, ramp=Ramp(1e-9, 1e-8, steps))
        found.append({event.key: event.count for event in profile.key_averages() if event.key in WAITS})
    more = {name: found[1].get(name, 0) - found[0].get(name, 0) for name in WAITS}
    return {"of 50 further steps": more, "all of 100 steps": found[1], "right": more["aten::item"] <= 5}


def recompilations() -> dict[str, Any]:
    """Compiled graphs after 2 steps, and after 1,000 in which rate, beta1 and weight decay cycle."""
    parameter = nn.Parameter(torch.ones(1000, device="cuda"))
    parameter.grad = torch.ones_like(parameter)
    rate, beta, decay = (torch.tensor(value, device="cuda") for value in (0.1, 0.9, 0.01))
    betas = (beta, torch.tensor(0.99, device="cuda"))
    optimizer = torch.optim.Adam([parameter], lr=rate, betas=betas, capturable=True)
    optimizer.param_groups[0]["weight_decay"] = decay
    scheduler = Scheduler(optimizer, WAVE, Opposed(WAVE, 0.85, 0.95), 0.1 * WAVE)
    step = torch.compile(optimizer.step)
    counts = []
    for steps in (2, 998):
        for _ in range(steps):
            step()
            scheduler.step()
        counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    return {"graphs after 2 steps": counts[0], "after 1,000": counts[1], "right": counts[0] == counts[1]}


def bottleneck(inputs: int, width: int, stride: int) -> nn.Module:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
                nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
                nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
            )  # fmt: skip
            plain = inputs == 4 * width and stride == 1
            self.side = nn.Identity() if plain else nn.Conv2d(inputs, 4 * width, 1, stride, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.relu(self.body(x) + self.side(x))

    return Block()


def resnet50() -> tuple[nn.Module, Any, Any]:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            layers.append(bottleneck(inputs, 64 << stage, 2 if block == 0 and stage else 1))
            inputs = 256 << stage
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))
    return model, torch.randn(64, 3, 224, 224), torch.randint(1000, (64,))


def gpt2() -> tuple[nn.Module, Any, Any]:
    layer = nn.TransformerEncoderLayer(768, 12, 3072, 0.0, "gelu", batch_first=True, norm_first=True)
    body = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
    model = nn.Sequential(nn.Embedding(50_257, 768), body, nn.Linear(768, 50_257, bias=False))
    tokens = torch.randint(50_257, (8, 512))
    return model, tokens, tokens


def steps_of(make: Callable[[], tuple[nn.Module, Any, Any]]) -> dict[str, Any]:
    """Milliseconds of a step with and without the scheduler, by turns."""
    model, x, y = (part.cuda() for part in make())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9)

    def bare() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
        loss.backward()
        optimizer.step()

    scheduler = Scheduler(optimizer, 0.01 * WAVE, Opposed(WAVE, 0.85, 0.95))

    def ours() -> None:
        bare()
        scheduler.step()

    milliseconds(bare, 5)
    found = [(milliseconds(ours, 10), milliseconds(bare, 10)) for _ in range(9)]
    ratios = statistics.quantiles((one / other for one, other in found), n=4)
    return {"ms": statistics.median(pair[1] for pair in found), "ratio": ratios[1], "quartiles": ratios}


def snapshots() -> dict[str, Any]:
    """Milliseconds to enter and leave `preserved` with 1 GB of weights, beside them and on the host."""
    model = nn.Linear(16_384, 16_384, bias=False).cuda()  # 1.07 GB

    def snapshot(where: str | None) -> None:
        with preserved(model, where=where):
            pass

    return {str(where): milliseconds(lambda where=where: snapshot(where), 5) for where in (None, "cpu")}


def parts() -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    yield "the scheduler beside a CUDA graph", graph
    yield "waits for the device in a range test", waits
    yield "recompilations", recompilations
    yield "ResNet-50", lambda: steps_of(resnet50)
    yield "GPT-2 small", lambda: steps_of(gpt2)
    yield "a snapshot of 1 GB", snapshots


def main() -> None:
    if not torch.cuda.is_available():
        print("bench/gpu.py: torch sees no CUDA device here, so nothing was measured", file=sys.stderr)
        sys.exit(2)
    record = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "parts": {}}
    for name, part in parts():
        try:
            found = part()
        except Exception as error:  # noqa: BLE001 (the other parts go on)
            found = {"error": f"{type(error).__name__}: {error}"}
        record["parts"][name] = found
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
        print(name, found, flush=True)


if __name__ == "__main__":
    main()
