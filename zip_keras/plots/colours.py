"""Colours shared by all pictures: levels, found objects and missed objects."""

# Fine to coarse. Distinguishable from each other, from white and from magenta, also for colour-blind readers.
LEVEL_COLOURS = {1: (30, 144, 255), 2: (255, 165, 0), 3: (60, 200, 60)}
NO_LEVEL = (255, 230, 0)  # unknown level
FOUND, MISSED = (255, 255, 255), (255, 0, 200)
EDGE = (0, 0, 0)  # outline of boxes, visible on any image

Colour = tuple[int, int, int]


def level_colour(level: int) -> Colour:
    """RGB colour of a level. Colours repeat after the third level; values below 1 are unknown levels."""
    return LEVEL_COLOURS[(level - 1) % len(LEVEL_COLOURS) + 1] if level > 0 else NO_LEVEL


def css(colour: Colour) -> str:
    """A colour as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
