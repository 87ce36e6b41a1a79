"""Client for a served export over gRPC or REST, without TensorFlow or Keras: `pip install 'zip-keras[client]'`.

>>> from zip_keras.client import Client
>>> with Client("localhost:8500", "lite") as client:  # doctest: +SKIP
...     answer = client.predict("photo.jpg")
...     answer.boxes, answer.scores

`import zip_keras` imports Keras if it is installed. Set ZIP_KERAS_LAZY=1 in the environment to prevent this.
"""

from zip_keras.client.answers import Answer
from zip_keras.client.client import Client, ModelVersion
from zip_keras.client.failures import Retry, ServerError

__all__ = ["Answer", "Client", "ModelVersion", "Retry", "ServerError"]
