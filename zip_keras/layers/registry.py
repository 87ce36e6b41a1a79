"""The one name under which the project's classes are registered with Keras's serialisation."""

import keras

PACKAGE = "zip_keras"
serializable = keras.saving.register_keras_serializable(package=PACKAGE)
