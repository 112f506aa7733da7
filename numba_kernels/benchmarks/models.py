"""The shapes of the variables of well-known models, in the order of their layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

Shape = tuple[int, ...]

RESNET_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
RESNET_EXPANSION = 4

GPT_VOCABULARY, GPT_POSITIONS = 50257, 1024


def resnet50() -> list[Shape]:
    """Return the shapes of ResNet-50 for 1,000 classes: 161 tensors.

    Deep Residual Learning for Image Recognition (He and others, 2015), table 1: bottlenecks of convolutions
    of 1, 3 and 1, each followed by a scale and a shift, and a projection where the width changes.

    >>> import math
    >>> len(resnet50()), sum(math.prod(shape) for shape in resnet50())
    (161, 25557032)
    """
    return list(_resnet50())


def _resnet50() -> Iterator[Shape]:
    yield from _convolution(64, 3, 7)
    width = 64
    for planes, blocks in RESNET_STAGES:
        for block in range(blocks):
            expanded = planes * RESNET_EXPANSION
            yield from _convolution(planes, width, 1)
            yield from _convolution(planes, planes, 3)
            yield from _convolution(expanded, planes, 1)
            if block == 0:
                yield from _convolution(expanded, width, 1)
            width = expanded
    yield from ((1000, width), (1000,))


def _convolution(outputs: int, inputs: int, size: int) -> Iterator[Shape]:
    yield from ((outputs, inputs, size, size), (outputs,), (outputs,))


def gpt2_small() -> list[Shape]:
    """Return the shapes of GPT-2 small, where the output layer is the embedding: 148 tensors.

    Language Models are Unsupervised Multitask Learners (Radford and others, 2019), table 2.

    >>> import math
    >>> len(gpt2_small()), sum(math.prod(shape) for shape in gpt2_small())
    (148, 124439808)
    """
    return _gpt2(12, 768)


def gpt2_xl() -> list[Shape]:
    """Return the shapes of GPT-2 XL, the largest of the same table: 580 tensors.

    >>> import math
    >>> len(gpt2_xl()), sum(math.prod(shape) for shape in gpt2_xl())
    (580, 1557611200)
    """
    return _gpt2(48, 1600)


def _gpt2(blocks: int, width: int) -> list[Shape]:
    norm = [(width,), (width,)]
    attention = [(width, 3 * width), (3 * width,), (width, width), (width,)]
    perceptron = [(width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    block = [*norm, *attention, *norm, *perceptron]
    return [(GPT_VOCABULARY, width), (GPT_POSITIONS, width), *(block * blocks), *norm]


MODELS: Mapping[str, Callable[[], list[Shape]]] = {
    "one of 32 M": lambda: [(2**25,)],
    "ResNet-50": resnet50,
    "GPT-2 small": gpt2_small,
    "200 of 1,000": lambda: [(1000,)] * 200,
    "2,000 of 100": lambda: [(100,)] * 2000,
    "embedding": lambda: [(1_000_000, 64)],
}

FOR_DEVICES: Mapping[str, Callable[[], list[Shape]]] = {
    "one of 1 G": lambda: [(2**30,)],
    "GPT-2 XL": gpt2_xl,
}
"""Models for which a step takes a processor seconds."""

EMBEDDING = "embedding"
ROWS = 1000
"""The number of rows of the embedding that have a gradient."""


def shapes_of(model: str) -> list[Shape]:
    """Return the shapes of a listed model, or those that a text such as ``"3 x 100"`` describes.

    >>> shapes_of("3 x 100")
    [(100,), (100,), (100,)]
    """
    for known in (MODELS, FOR_DEVICES):
        if model in known:
            return known[model]()
    count, size = model.split(" x ")
    return [(int(size),)] * int(count)
