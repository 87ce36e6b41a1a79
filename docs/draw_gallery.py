"""Draws docs/images/gallery_NAME.jpg, what each preset finds on six photographs: `python docs/draw_gallery.py`.

The pictures come with the package scikit-image and may be copied (CC0 or public domain). None was used for
training. Boxes are those that `zip_keras.draw` selects.
"""

from pathlib import Path

from PIL import Image
from skimage import color, data

import zip_keras

IMAGES = Path(__file__).parent / "images"
NAMES = ("astronaut", "cat", "coffee", "camera", "rocket", "coins")
HEIGHT, COLUMNS = 280, 3


def main() -> None:
    """One sheet for each preset."""
    photographs = []
    for name in NAMES:
        pixels = getattr(data, name)()
        photographs.append(pixels if pixels.ndim == 3 else color.gray2rgb(pixels))
    for preset in zip_keras.list_presets():
        find = zip_keras.detect if preset.endswith("detector") else zip_keras.propose
        found = find(preset, photographs)
        pictures = [zip_keras.draw(*pair) for pair in zip(photographs, found, strict=True)]
        write_sheet(pictures, IMAGES / f"gallery_{preset}.jpg")


def write_sheet(pictures: list[Image.Image], file: Path) -> None:
    """Pictures of one height, row by row."""
    scaled = [p.convert("RGB").resize((round(p.width * HEIGHT / p.height), HEIGHT)) for p in pictures]
    rows = [scaled[i : i + COLUMNS] for i in range(0, len(scaled), COLUMNS)]
    sheet = Image.new("RGB", (max(sum(p.width for p in row) for row in rows), HEIGHT * len(rows)), "white")
    for number, row in enumerate(rows):
        left = 0
        for picture in row:
            sheet.paste(picture, (left, number * HEIGHT))
            left += picture.width
    sheet.save(file, quality=85)


if __name__ == "__main__":
    main()
