import numpy as np
import pytest

from zip_keras.analysis.attention.statistics import LevelAttention, MapDecisions

pytest.importorskip("matplotlib")
from zip_keras.analysis.attention.figures import attention_figure, spread_figure


def level(mu, size=(4, 6)):
    rng = np.random.default_rng(0)
    before = np.maximum(rng.normal(size=(*size, len(mu))), 0).astype(np.float32)
    mu = np.array(mu, np.float32)
    return LevelAttention(before, mu, before * mu)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def tiles(figure):
    """The maps drawn at the right, in the order of drawing: (pixels, least and greatest of the colour scale)."""
    axes = figure.subfigs[1].axes
    return [(np.asarray(i.get_array()), *i.get_clim()) for panel in axes for i in panel.images]


def test_the_strongest_and_weakest_maps_with_their_mu():
    one = level([1.0, 3.0, 2.0, 0.0, 0.5, 0.25, -1.0, 1.5])
    figure = attention_figure(np.zeros((40, 60, 3), np.uint8), {1: one}, "cat", maps=1)
    assert [text for text in texts(figure) if "μ" in text] == ["F1: μ 3.00", "F3: μ 0.00", "H3: μ 1.50", "H2: μ -1.00"]
    drawn = tiles(figure)
    for number, channel in enumerate((1, 3, 7, 6)):
        before, after = drawn[2 * number], drawn[2 * number + 1]
        np.testing.assert_allclose(before[0], one.before[..., channel])
        np.testing.assert_allclose(after[0], one.mu[channel] * one.before[..., channel])
        assert before[1:] == after[1:]  # one colour scale
        assert before[1] <= min(before[0].min(), after[0].min())
        assert before[2] >= max(before[0].max(), after[0].max())


@pytest.mark.parametrize("size", [(60, 40), (10, 300), (300, 10), (1, 1)])
@pytest.mark.parametrize("maps", [1, 3, 9])
def test_a_picture_of_any_shape_and_more_maps_than_there_are(size, maps, tmp_path):
    levels = {1: level([1.0, 3.0, 2.0, 0.0]), 2: level([1.0] * 6, (1, 1))}
    figure = attention_figure(np.zeros((*size, 3), np.uint8), levels, "cat", maps)
    figure.savefig(tmp_path / "a.png", dpi=40)
    counts = 2 * 2 * min(maps, 2) + 2 * 2 * min(maps, 3)  # strongest and weakest of F and of H, at two levels
    assert len(tiles(figure)) == 2 * counts


def test_maps_that_are_empty_are_drawn_dark(tmp_path):
    empty = LevelAttention(np.zeros((2, 2, 4), np.float32), np.ones(4, np.float32), np.zeros((2, 2, 4), np.float32))
    figure = attention_figure(np.zeros((8, 8, 3), np.uint8), {1: empty}, "cat", 2)
    figure.savefig(tmp_path / "a.png", dpi=40)
    assert all(low == 0 < high for _, low, high in tiles(figure))


@pytest.mark.parametrize("images", [2, 30])
def test_the_spread_over_images_says_its_share(images, tmp_path):
    """Maps of mean 1 and 3, the first 0 or 2 on every other image: a third of the variance is between images."""
    mu = np.array([[0.0, 3.0], [2.0, 3.0]] * (images // 2))
    same = np.ones((images, 2)) * [1.0, 2.0]
    decisions = MapDecisions(tuple(range(images)), {(1, "F"): mu, (1, "H"): same})
    figure = spread_figure(decisions)
    figure.savefig(tmp_path / "mu.png", dpi=40)
    titles = [axes.get_title() for axes in figure.axes]
    assert "F, zoom-out: 33.3 % of the variance is between images" in titles
    assert "H, zoom-in: 0.0 % of the variance is between images" in titles
    heat = np.asarray(figure.axes[1].images[0].get_array())
    assert heat[:2].tolist() == [[0, -1], [0, 1]]  # the map with the greater mean first
