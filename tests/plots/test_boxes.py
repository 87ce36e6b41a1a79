import numpy as np
import pytest

from zip_keras.plots.boxes import draw_boxes, found_by, rank_colour
from zip_keras.plots.colours import EDGE, FOUND, MISSED, NO_LEVEL, level_colour

GREY = (90, 90, 90)


def canvas(height=40, width=60):
    return np.full((height, width, 3), 90, np.uint8)


def test_an_outline_runs_along_the_pixels_inside_the_box():
    picture = draw_boxes(canvas(), np.array([[10.0, 20.0, 30.0, 50.0]]))
    assert picture.size == (60, 40)
    red = rank_colour(0, 1)
    for row, column in ((10, 20), (10, 49), (29, 20), (29, 49), (20, 20), (10, 35)):
        assert picture.getpixel((column, row)) == red
    for row, column in ((9, 20), (30, 20), (10, 19), (10, 50), (20, 35)):
        assert picture.getpixel((column, row)) == GREY


def test_the_best_box_is_red_and_on_top_the_last_blue():
    same = np.array([[5.0, 5.0, 20.0, 20.0]] * 3)
    assert draw_boxes(canvas(), same).getpixel((5, 5)) == (255, 0, 0)
    assert [rank_colour(rank, 3) for rank in range(3)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_found_objects_are_white_over_the_proposals():
    box = np.array([[10.0, 20.0, 30.0, 50.0]])
    picture = draw_boxes(canvas(), box, ground_truth=box)
    assert picture.getpixel((20, 10)) == FOUND
    assert picture.getpixel((22, 12)) == EDGE


def test_an_object_is_found_from_half_an_overlap_on():
    """Boxes of 20 x 30 pixels, IoU 1/2 and a little less: 600 / 1200 and 600 / 1230."""
    thing = np.array([[10.0, 20.0, 30.0, 50.0]])
    assert found_by(np.array([[10.0, 20.0, 50.0, 50.0]]), thing).tolist() == [True]
    assert found_by(np.array([[10.0, 20.0, 51.0, 50.0]]), thing).tolist() == [False]
    assert found_by(np.zeros((0, 4)), thing).tolist() == [False]
    near, missed = [[12.0, 20.0, 30.0, 50.0]], [[0.0, 0.0, 8.0, 8.0]]
    picture = draw_boxes(canvas(), np.array(near), ground_truth=np.array([thing[0], missed[0]]))
    assert picture.getpixel((20, 10)) == FOUND
    assert picture.getpixel((0, 0)) == MISSED


def test_levels_have_their_colours_and_a_legend_below():
    boxes = np.array(
        [[2.0, 2.0, 12.0, 12.0], [2.0, 20.0, 12.0, 30.0], [20.0, 2.0, 30.0, 12.0], [20.0, 40.0, 30.0, 50.0]]
    )
    picture = draw_boxes(canvas(), boxes, levels=np.array([1, 2, 3, 0]))
    corners = [picture.getpixel((int(x), int(y))) for y, x in boxes[:, :2]]
    assert corners == [level_colour(1), level_colour(2), level_colour(3), NO_LEVEL]
    assert len({*corners, FOUND, MISSED, EDGE}) == 7
    assert picture.width == 60
    legend = {picture.getpixel((x, y)) for x in range(60) for y in range(40, picture.height)}
    assert {*corners} <= legend
    assert not {FOUND, MISSED} & legend  # no object in the picture, none in the legend


def test_a_level_that_is_not_there_is_not_in_the_legend():
    boxes = np.array([[2.0, 2.0, 12.0, 12.0]])
    picture = draw_boxes(canvas(width=400), boxes, np.array([[20.0, 20.0, 30.0, 30.0]]), np.array([2]))
    legend = {picture.getpixel((x, y)) for x in range(400) for y in range(40, picture.height)}
    assert {level_colour(2), MISSED} <= legend
    assert not {level_colour(1), level_colour(3), FOUND} & legend


def test_levels_are_as_many_as_boxes():
    with pytest.raises(ValueError, match="2 levels for 1 boxes"):
        draw_boxes(canvas(), np.array([[2.0, 2.0, 12.0, 12.0]]), levels=np.array([1, 2]))


def test_levels_without_boxes_or_objects_leave_the_image_alone():
    picture = draw_boxes(canvas(), np.zeros((0, 4)), levels=np.zeros(0, int))
    assert np.array_equal(np.asarray(picture), canvas())


def test_boxes_thinner_than_a_pixel_and_at_the_edge_are_drawn():
    boxes = np.array([[3.2, 4.1, 3.3, 4.2], [0.0, 0.0, 40.0, 60.0]])
    picture = draw_boxes(canvas(), boxes)
    assert picture.getpixel((4, 3)) == (255, 0, 0)
    assert picture.getpixel((59, 39)) == (0, 0, 255)
    assert np.array_equal(np.asarray(draw_boxes(canvas(), np.zeros((0, 4)))), canvas())
