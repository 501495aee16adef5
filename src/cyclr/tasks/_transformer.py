"""A small causal transformer in the layout of GPT-2 (pre-normalisation)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Block(nn.Module):
    """Causal attention, then a position-wise network, both with residual connections."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.gather = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.widen, self.narrow = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = self.attend(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        found = scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.gather(found.transpose(1, 2).reshape(batch, length, width))
        return x + self.narrow(nn.functional.gelu(self.widen(self.norm2(x))))


class Transformer(nn.Module):
    """Scores for the next of `symbols` at each position of a window, from that position and those before it.

    Source:
        Vaswani et al. (2017), Attention is all you need. https://arxiv.org/abs/1706.03762. Layout and initial weights:
        Radford et al. (2019), Language models are unsupervised multitask learners (GPT-2).
    """

    def __init__(self, *, symbols: int, window: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.symbols, self.positions = nn.Embedding(symbols, width), nn.Embedding(window, width)
        blocks = [Block(width, heads) for _ in range(layers)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.scores = nn.Linear(width, symbols, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
        for block in blocks:  # the sum of 2 * layers residual terms is to have the variance of one
            for last in (block.gather, block.narrow):
                nn.init.normal_(last.weight, std=0.02 / (2 * layers) ** 0.5)

    def forward(self, symbols: Tensor) -> Tensor:
        x = self.symbols(symbols) + self.positions.weight[: symbols.shape[1]]
        return self.scores(self.norm(self.blocks(x)))

    def groups(self, decay: float) -> list[dict[str, Any]]:
        """The parameter groups for an optimizer: matrices have weight decay, norms and embeddings do not."""
        decaying = [module.weight for module in self.modules() if isinstance(module, nn.Linear)]
        chosen = {id(weight) for weight in decaying}
        others = [parameter for parameter in self.parameters() if id(parameter) not in chosen]
        return [{"params": decaying, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
