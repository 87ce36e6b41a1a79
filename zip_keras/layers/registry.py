"""The package name under which the project's classes are registered for Keras serialisation."""

import keras

PACKAGE = "zip_keras"
serializable = keras.saving.register_keras_serializable(package=PACKAGE)
