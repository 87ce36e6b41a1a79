"""What the numbers of an image mean. No Keras."""

# Every channel of a pixel that belongs to no image: batches are padded with it at the bottom and right. Pixels are
# 0..255, and bfloat16 and float16 hold the number exactly. The network replaces it by the backbone's mean colour.
PADDING = -1024.0
