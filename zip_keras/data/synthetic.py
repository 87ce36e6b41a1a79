"""Rendered scenes, written as a VOC devkit, for the demo and the tests. They need no download and render in seconds.

Scenes hold objects of six classes, about 12 to 500 pixels in size, on textured backgrounds with clutter and occlusion.
Sizes are log-uniform, so all three anchor levels are used. A box encloses the visible part of an object. Scene `i` of
a seed does not depend on the number of scenes or processes.
"""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from zip_keras.errors import UserError

CLASS_NAMES = ("arrow", "cross", "disc", "ring", "slab", "star")
SMALLEST, LARGEST = 12.0, 500.0  # pixels, square root of an object's area before occlusion
SPLITS = (("train", 0.8), ("val", 0.1), ("test", 0.1))


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Attributes:
        name: one of `CLASS_NAMES`.
        box: `(y1, x1, y2, x2)` of its visible pixels, whole numbers, continuous coordinates.
        visible: fraction of its pixels that are inside the image and not occluded.
    """

    name: str
    box: tuple[int, int, int, int]
    visible: float

    @property
    def difficult(self) -> bool:
        """Whether too little is visible for the object to count in training and evaluation."""
        return self.visible < 0.3


@dataclass(frozen=True)
class Scene:
    """`image` uint8 `[height, width, 3]` and its objects from back to front."""

    image: np.ndarray
    objects: tuple[SceneObject, ...]


def render_scene(seed: int, index: int) -> Scene:
    """Render one scene, 384 to 640 pixels wide and high.

    Args:
        seed: random seed of the dataset.
        index: number of the scene.
    """
    rng = np.random.default_rng([seed, index])
    height, width = (int(side) for side in rng.integers(384, 641, 2))
    canvas = _background(rng, height, width)
    owner = np.zeros((height, width), np.uint8)  # the object visible at each pixel, counted from 1
    shapes: list[tuple[str, int]] = []  # name and number of pixels, including those outside the image
    for size in _sizes(rng, min(height, width)):
        name = str(rng.choice(CLASS_NAMES))
        mask = _mask(rng, name, size)
        top = int(rng.uniform(-0.2 * mask.shape[0], height - 0.8 * mask.shape[0]))
        left = int(rng.uniform(-0.2 * mask.shape[1], width - 0.8 * mask.shape[1]))
        y1, x1 = max(top, 0), max(left, 0)
        y2, x2 = min(top + mask.shape[0], height), min(left + mask.shape[1], width)
        if y2 <= y1 or x2 <= x1:
            continue
        inside = mask[y1 - top : y2 - top, x1 - left : x2 - left]
        shapes.append((name, int((mask > 0.5).sum())))
        owner[y1:y2, x1:x2][inside > 0.5] = len(shapes)
        patch = canvas[y1:y2, x1:x2]
        patch += inside[:, :, None] * (_surface(rng, patch) - patch)
    light = 1 + rng.uniform(0, 0.35) * _plane(rng, height, width)[:, :, None]
    noise = rng.normal(0, rng.uniform(2, 9), (height, width, 1)).astype(np.float32)
    image = Image.fromarray((canvas * light + noise).clip(0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.2)))
    found = (_visible_object(owner, number, *shape) for number, shape in enumerate(shapes, start=1))
    return Scene(np.asarray(image), tuple(thing for thing in found if thing is not None))


def write_devkit(
    folder: str,
    scenes: int = 300,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int], None] = lambda scenes: None,
) -> None:
    """Write scenes as a VOC devkit with the splits `train` (80 %), `val` and `test` (10 % each).

    Args:
        folder: must be empty or not exist.
        scenes: number of scenes, at least 10.
        seed: random seed of the dataset.
        workers: number of processes.
        progress: called with the number of scenes done since the last call.

    Raises:
        UserError: the folder is in use or cannot be written, or there are too few scenes.
    """
    if scenes < 10:
        raise UserError(f"{scenes} scenes are too few to split; ask for at least 10")
    try:
        if os.path.exists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
            raise UserError(f"{folder}: is there already; give another folder or remove it")
        partial_folder = f"{os.path.normpath(folder)}.partial"  # an interrupted run leaves no partial devkit
        shutil.rmtree(partial_folder, ignore_errors=True)
        for name in ("JPEGImages", "Annotations", os.path.join("ImageSets", "Main")):
            os.makedirs(os.path.join(partial_folder, name))
        _write_all(partial_folder, scenes, seed, workers, progress)
        bounds = np.rint(np.cumsum([0.0, *(share for _, share in SPLITS)]) * scenes).astype(int)
        for (split, _), first, last in zip(SPLITS, bounds[:-1], bounds[1:], strict=True):
            with open(os.path.join(partial_folder, "ImageSets", "Main", f"{split}.txt"), "w", encoding="ascii") as file:
                file.writelines(f"{index:06d}\n" for index in range(first, last))
        os.replace(partial_folder, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from None


def _write_all(folder: str, scenes: int, seed: int, workers: int, progress: Callable[[int], None]) -> None:
    write = partial(_write_scene, folder, seed)
    if workers == 1:
        for index in range(scenes):
            write(index)
            progress(1)
        return
    with ProcessPoolExecutor(workers) as pool:
        for _ in pool.map(write, range(scenes), chunksize=4):
            progress(1)


def _write_scene(folder: str, seed: int, index: int) -> None:
    scene = render_scene(seed, index)
    Image.fromarray(scene.image).save(os.path.join(folder, "JPEGImages", f"{index:06d}.jpg"), quality=90)
    with open(os.path.join(folder, "Annotations", f"{index:06d}.xml"), "w", encoding="ascii") as file:
        file.write(voc_xml(scene, f"{index:06d}.jpg"))


def voc_xml(scene: Scene, filename: str) -> str:
    """The scene's annotation as VOC XML; coordinates are continuous edges."""
    height, width = scene.image.shape[:2]
    lines = [
        "<annotation>",
        f"  <filename>{filename}</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
    ]
    for thing in scene.objects:
        y1, x1, y2, x2 = thing.box
        lines += [
            f"  <object><name>{thing.name}</name>",
            f"    <truncated>{int(thing.visible < 0.95)}</truncated><difficult>{int(thing.difficult)}</difficult>",
            f"    <bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def _sizes(rng: np.random.Generator, short_side: int) -> list[float]:
    """Square roots of areas, log-uniform, roughly from large to small so that small objects are in front."""
    count = int(rng.integers(3, 13))
    logs = rng.uniform(np.log(SMALLEST), np.log(min(LARGEST, 0.95 * short_side)), count)
    order = np.argsort(-(logs + rng.normal(0, 0.35, count)))
    return np.exp(logs[order]).tolist()


def _mask(rng: np.random.Generator, name: str, size: float) -> np.ndarray:
    """The object's coverage, float32 0..1, cropped to its pixels."""
    ratio = np.exp(rng.uniform(np.log(0.45), np.log(2.2)))  # height / width
    height, width = (max(8.0, side) for side in (size * ratio**0.5, size / ratio**0.5))
    height, width = min(height, LARGEST), min(width, LARGEST)
    fine = 4 if size < 64 else 1  # small edges are worth smoothing
    drawn = Image.new("L", (round(width * fine), round(height * fine)))
    draw = ImageDraw.Draw(drawn)
    w, h = drawn.width - 1, drawn.height - 1
    if name in ("disc", "ring"):
        draw.ellipse((0, 0, w, h), fill=255)
        if name == "ring":
            a = rng.uniform(0.22, 0.32)
            draw.ellipse((a * w, a * h, (1 - a) * w, (1 - a) * h), fill=0)
    else:
        outline = _outline(rng, name)
        low, high = outline.min(0), outline.max(0)
        points = (outline - low) / (high - low) * (w, h)
        draw.polygon([tuple(point) for point in points.tolist()], fill=255)
    drawn = drawn.resize((max(1, drawn.width // fine), max(1, drawn.height // fine)), Image.Resampling.BOX)
    return np.asarray(drawn, np.float32) / 255


def _outline(rng: np.random.Generator, name: str) -> np.ndarray:
    """Corners `[n, 2]` (x, y) of a rotated shape in its own units."""
    if name == "star":
        angle = np.arange(10) * np.pi / 5
        radius = np.where(np.arange(10) % 2, rng.uniform(0.38, 0.5), 1.0)
        points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    elif name == "cross":
        a = rng.uniform(0.25, 0.4)
        points = np.array(
            [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)]
        )
    elif name == "arrow":
        a = rng.uniform(0.25, 0.45)
        points = np.array([(0, -1), (1, 0.1), (a, 0.1), (a, 1), (-a, 1), (-a, 0.1), (-1, 0.1)])
    else:
        points = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    turn = rng.uniform(-0.3, 0.3) if name in ("slab", "cross") else rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    return points @ np.array([(cos, sin), (-sin, cos)])


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of several grain sizes with clutter (lines, faint blots) that is not annotated; float32 `[h, w, 3]`."""
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = rng.uniform(60, 190, 3)
    for cells, strength in ((4, 55), (14, 25), (50, 14)):
        grid = rng.normal(0, strength * rng.uniform(0.4, 1), (cells, cells, 3)).clip(-120, 120)
        canvas += _enlarged(grid.mean(2) if rng.random() < 0.5 else grid, height, width)
    image = Image.fromarray(canvas.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(int(rng.integers(4, 25))):
        colour = (*(int(c) for c in rng.integers(0, 256, 3)), int(rng.integers(25, 110)))
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        if rng.random() < 0.7:
            length, angle = rng.uniform(20, 300), rng.uniform(0, np.pi)
            end = (x + length * np.cos(angle), y + length * np.sin(angle))
            draw.line([(x, y), end], fill=colour, width=int(rng.integers(1, 6)))
        else:
            rx, ry = rng.uniform(5, 90, 2)
            draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=(*colour[:3], colour[3] // 3))
    return np.array(image, np.float32)


def _surface(rng: np.random.Generator, behind: np.ndarray) -> np.ndarray:
    """Texture of an object, float32 in the shape of `behind`, with a clearly different mean colour."""
    height, width = behind.shape[:2]
    around = behind.mean((0, 1))
    colour = rng.uniform(0, 255, 3)
    while np.abs(colour - around).sum() < 110:
        colour = rng.uniform(0, 255, 3)
    surface = np.empty_like(behind)
    surface[:] = colour
    other = colour + rng.uniform(25, 70) * rng.choice((-1, 1), 3)
    kind = rng.integers(5)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    period = rng.uniform(4, 8) if max(height, width) < 60 else rng.uniform(8, 40)
    if kind == 1:  # stripes
        angle = rng.uniform(0, np.pi)
        surface[((x * np.cos(angle) + y * np.sin(angle)) // period) % 2 == 0] = other
    elif kind == 2:  # checks
        surface[(x // period + y // period) % 2 == 0] = other
    elif kind == 3:  # clouds
        surface += _enlarged(rng.normal(0, 30, (6, 6)), height, width)
    elif kind == 4:  # shading
        surface += 45 * _plane(rng, height, width)[:, :, None]
    return surface


def _plane(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A ramp from -1 to 1 in a random direction, float32 `[height, width]`."""
    angle = rng.uniform(0, 2 * np.pi)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    return (np.cos(angle) * x + np.sin(angle) * y).astype(np.float32) / 1.4


def _enlarged(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Upsample a coarse grid, `[h, w]` or `[h, w, 3]`, bilinearly to float32 `[height, width, 1 or 3]`."""
    planes = grid[:, :, None] if grid.ndim == 2 else grid
    big = [
        np.asarray(
            Image.fromarray(planes[:, :, c].astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
        )
        for c in range(planes.shape[2])
    ]
    return np.stack(big, 2)


def _visible_object(owner: np.ndarray, number: int, name: str, pixels: int) -> SceneObject | None:
    """The visible part of an object; None if almost nothing is visible."""
    seen = owner == number
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    count = int(seen.sum())
    if count < 24 or len(rows) < 4 or len(columns) < 4:
        return None
    box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    return SceneObject(name, box, count / max(1, pixels))
