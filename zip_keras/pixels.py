"""The pixel value that marks padding. No Keras."""

# Value of every channel of padding, which batches have at the bottom and right. It is outside the range of pixels,
# 0..255, and exact in bfloat16 and float16. The network replaces it by the backbone's mean colour.
PADDING = -1024.0
