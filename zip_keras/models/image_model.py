"""Base class of `Proposer` and `Detector`: scales, flip, other options and serialisation."""

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from zip_keras.errors import UserError
from zip_keras.layers.resizing import ShortSideResizing


class ImageModel(keras.Model):
    """Base of models that take images of any size, resize them for a network and return boxes in their own pixels.

    A subclass defines `networks`, the accepted types of its network, `part_names`, the constructor arguments that are
    Keras objects, and `_options`, its other constructor arguments.

    Args:
        network: takes float32 images `[B, H', W', 3]`, 0..255.
        short_sides: scale or scales, as the short side of the image in pixels; None keeps the size.
        long_side: maximum of the longer side at every scale, pixels.
        flip: flip test-time augmentation.
    """

    networks: tuple[type[keras.Model], ...] = ()
    part_names: tuple[str, ...] = ("network",)

    def __init__(self, network, short_sides: int | Sequence[int | None] | None, long_side: int, flip: bool, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})  # images and boxes stay float32 for any network dtype
        self.network = network
        self.short_sides = tuple(short_sides) if isinstance(short_sides, Sequence) else (short_sides,)
        self.long_side, self.flip = long_side, flip
        self.resizings = [
            ShortSideResizing(side, long_side, dtype="float32", name="resizing" if not i else f"resizing_{i}")
            for i, side in enumerate(self.short_sides)
        ]
        self.built = True  # the network has all of its variables

    def check_images(self, images) -> None:
        """Raise `UserError` for a known number of channels other than 3, and for floats in 0..1 if values are known.

        A graph has no values while it is traced, so such images are not detected there.
        """
        shape, kind = tuple(images.shape), type(self).__name__
        if len(shape) != 4 or shape[-1] not in (3, None):
            raise UserError(f"images of shape {list(shape)}: a {kind} takes RGB images [B, H, W, 3]")
        if hasattr(images, "numpy") and "float" in keras.backend.standardize_dtype(images.dtype):
            largest, smallest = float(ops.max(images)), float(ops.min(images))
            if smallest >= 0 and 0 < largest <= 1:
                raise UserError(f"images with values from {smallest:.3g} to {largest:.3g}: a {kind} takes 0..255")

    def network_inputs(self, images) -> list:
        """Resize images to every scale, with `flip` each followed by its mirror image: float32 `[B, H', W', 3]`."""
        images = ops.cast(images, "float32")
        resized = [resizing(images) for resizing in self.resizings]
        return [x for own in resized for x in ((own, ops.flip(own, axis=2)) if self.flip else (own,))]

    def with_options(self, **changes) -> Self:
        """Return a model with the same network and the given constructor arguments changed."""
        return type(self)(**{**self._parts(), **self._options(), **changes})

    def get_config(self):
        parts = {name: keras.saving.serialize_keras_object(part) for name, part in self._parts().items()}
        return {**parts, **self._options()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in cls.part_names:
            config[name] = keras.saving.deserialize_keras_object(config.get(name), custom_objects=custom_objects)
        network = config["network"]
        if not isinstance(network, cls.networks):
            kinds = " or ".join(f"a {kind.__name__}" for kind in cls.networks)
            raise ValueError(f"a {cls.__name__}'s network must be {kinds}, not a {type(network).__name__}")
        return cls(**config)

    def _parts(self) -> dict[str, Any]:
        """The constructor arguments that are Keras objects."""
        return {name: getattr(self, name) for name in self.part_names}

    def _options(self) -> dict[str, Any]:
        """The other constructor arguments, as plain values."""
        return {
            "name": self.name,
            "short_sides": self.short_sides[0] if len(self.short_sides) == 1 else list(self.short_sides),
            "long_side": self.long_side,
            "flip": self.flip,
        }
