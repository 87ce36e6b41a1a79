import numpy as np

from zip_keras.plots.boxes import BLACK, WHITE, draw_boxes, rank_colour

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


def test_objects_are_white_with_a_dark_edge_over_the_proposals():
    box = np.array([[10.0, 20.0, 30.0, 50.0]])
    picture = draw_boxes(canvas(), box, ground_truth=box)
    assert picture.getpixel((20, 10)) == WHITE
    assert picture.getpixel((22, 12)) == BLACK


def test_boxes_thinner_than_a_pixel_and_at_the_edge_are_drawn():
    boxes = np.array([[3.2, 4.1, 3.3, 4.2], [0.0, 0.0, 40.0, 60.0]])
    picture = draw_boxes(canvas(), boxes)
    assert picture.getpixel((4, 3)) == (255, 0, 0)
    assert picture.getpixel((59, 39)) == (0, 0, 255)
    assert np.array_equal(np.asarray(draw_boxes(canvas(), np.zeros((0, 4)))), canvas())
