"""VGG-16 (Simonyan and Zisserman, arXiv 1409.1556), one of the paper's backbones (76.4 mAP; Inception-BN has 76.8).

F1, F2, F3 are the maps at strides 8, 16 and 32: the last convolutions of stages four and five, and the fifth pool.
Layers have the names of `keras.applications.VGG16`, so a file of its weights fits (docs/training.md).
"""

from zip_keras.backbones.applications import PREFIX, application_backbone

VGG16 = application_backbone(f"{PREFIX}VGG16:block4_conv3,block5_conv3,block5_pool")
