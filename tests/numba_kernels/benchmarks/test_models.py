"""The shapes of the models, against what is published of them."""

from __future__ import annotations

import math
from collections import Counter

from numba_kernels.benchmarks.models import FOR_DEVICES, MODELS, gpt2_small, gpt2_xl, resnet50, shapes_of


def test_resnet50() -> None:
    shapes = resnet50()
    assert (len(shapes), sum(map(math.prod, shapes))) == (161, 25_557_032)
    kernels = [shape for shape in shapes if len(shape) == 4]
    assert len(kernels) == 53
    assert Counter(shape[2] for shape in kernels) == {1: 36, 3: 16, 7: 1}
    assert shapes[0] == (64, 3, 7, 7)
    assert shapes[-2:] == [(1000, 2048), (1000,)]
    # The four projections go from the width of one stage to that of the next.
    for projection in ((256, 64, 1, 1), (512, 256, 1, 1), (1024, 512, 1, 1), (2048, 1024, 1, 1)):
        assert projection in kernels


def test_gpt2_small() -> None:
    shapes = gpt2_small()
    assert (len(shapes), sum(map(math.prod, shapes))) == (148, 124_439_808)
    assert shapes[:2] == [(50257, 768), (1024, 768)]
    assert Counter(shapes)[768, 3072] == Counter(shapes)[3072, 768] == 12


def test_gpt2_xl() -> None:
    shapes = gpt2_xl()
    assert (len(shapes), sum(map(math.prod, shapes))) == (580, 1_557_611_200)
    assert shapes[:2] == [(50257, 1600), (1024, 1600)]
    assert Counter(shapes)[1600, 6400] == Counter(shapes)[6400, 1600] == 48


def test_models_for_devices_have_shapes() -> None:
    assert not set(FOR_DEVICES) & set(MODELS)
    assert shapes_of("one of 1 G") == [(1_073_741_824,)]
    assert shapes_of("GPT-2 XL") == gpt2_xl()


def test_every_model_has_shapes() -> None:
    sizes = {model: (len(shapes_of(model)), sum(map(math.prod, shapes_of(model)))) for model in MODELS}
    assert sizes["one of 32 M"] == (1, 2**25)
    assert sizes["200 of 1,000"] == (200, 200_000)
    assert sizes["2,000 of 100"] == (2000, 200_000)
    assert sizes["embedding"] == (1, 64_000_000)
    assert shapes_of("7 x 3") == [(3,)] * 7
