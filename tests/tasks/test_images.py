from __future__ import annotations

import torch

from cyclr.tasks._images import SHIFT, Drawn, Images, moved


def images(count: int) -> Images:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(1, 256, (count, 8, 8, 3), generator=generator, dtype=torch.uint8)
    return Images(drawn, torch.arange(count))


def loader(data: Images, seed: int = 0, **options: bool) -> Drawn:
    return Drawn(data, torch.zeros(8, 8, 3), 10, torch.Generator().manual_seed(seed), **options)


def test_images_are_cut_out_of_their_border_one_by_one() -> None:
    data = torch.rand(5, 8, 6, 3)
    moves = torch.tensor([[4, 0, 8, 3, 5], [4, 8, 0, 5, 1], [0, 0, 1, 1, 0]])
    bordered = torch.zeros(5, 16, 14, 3)
    bordered[:, SHIFT:-SHIFT, SHIFT:-SHIFT] = data
    found = moved(data, moves)
    for index, (down, across, mirrored) in enumerate(moves.T.tolist()):
        cut = bordered[index, down : down + 8, across : across + 6]
        assert torch.equal(found[index], cut.flip(1) if mirrored else cut)
    assert torch.equal(found[0], data[0])


def test_every_picture_comes_once_a_pass_in_an_order_of_its_own() -> None:
    data = images(25)
    drawn = loader(data)
    first, second = ([(x, y) for x, y in drawn] for _ in range(2))
    assert [len(labels) for _, labels in first] == [10, 10, 5]
    orders = [torch.cat([labels for _, labels in batches]) for batches in (first, second)]
    assert [sorted(order.tolist()) for order in orders] == [list(range(25))] * 2
    assert not torch.equal(*orders)
    inputs = torch.cat([inputs for inputs, _ in first]).permute(0, 2, 3, 1)
    assert torch.equal(inputs, data.images[orders[0]].float())


def test_augmented_images_are_shifts_of_their_own_and_differ_from_pass_to_pass() -> None:
    data = images(300)
    drawn = loader(data, shuffled=False, augment=True)
    first, second = (torch.cat([inputs for inputs, _ in drawn]).permute(0, 2, 3, 1) for _ in range(2))
    assert not torch.equal(first, second)
    ways = torch.cartesian_prod(torch.arange(9), torch.arange(9), torch.arange(2))
    hits = []
    for index in range(300):
        all_ways = moved(data.images[[index] * len(ways)].float(), ways.T)
        hits.append((all_ways == first[index]).flatten(1).all(1).nonzero().flatten().tolist())
    assert {len(hit) for hit in hits} == {1}
    assert len({tuple(ways[hit[0], :2].tolist()) for hit in hits}) > 60  # of 81
    assert 110 < sum(ways[hit[0], 2].item() for hit in hits) < 190


def test_the_seed_decides_order_and_moves() -> None:
    data = images(25)
    found = [torch.cat([x.flatten() for x, _ in loader(data, seed, augment=True)]) for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
