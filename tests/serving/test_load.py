"""benchmarks/serving_load.py with few requests: mixed images, garbage and wrong requests by both protocols."""

import pytest

from benchmarks.serving_load import grows, make_requests, memory_of, run_level


@pytest.fixture(scope="module")
def requests(signatures):
    return make_requests(signatures["encoded"])


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["gRPC", "REST"])
def test_no_answer_is_wrong(served, requests, transport):
    level = run_level(served, requests, transport, concurrency=8, count=120, observe=lambda done: None)
    assert level.wrong == []
    assert len(level.times) == 120
    assert set(level.kinds) >= {"image", "garbage"}
    assert memory_of(served) > 50


def test_growth_is_found():
    assert not grows([1.0, *[5.0] * 20])  # warm-up alone
    assert grows([5.0 + 0.1 * n for n in range(40)])
