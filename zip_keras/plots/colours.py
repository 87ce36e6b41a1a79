"""The colours that mean the same in every picture: levels, and objects found and missed."""

# Fine to coarse; apart from each other, from white and from magenta for the colour-blind too.
LEVEL_COLOURS = {1: (30, 144, 255), 2: (255, 165, 0), 3: (60, 200, 60)}
NO_LEVEL = (255, 230, 0)  # a level that is not known
FOUND, MISSED = (255, 255, 255), (255, 0, 200)
EDGE = (0, 0, 0)  # around objects, so that they stand out from any image

Colour = tuple[int, int, int]


def level_colour(level: int) -> Colour:
    """RGB of a level; beyond the third they repeat, below the first the level is not known."""
    return LEVEL_COLOURS[(level - 1) % len(LEVEL_COLOURS) + 1] if level > 0 else NO_LEVEL


def css(colour: Colour) -> str:
    """`#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
