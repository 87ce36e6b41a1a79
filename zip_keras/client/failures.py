"""Client errors and the retry policy."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zip_keras.errors import UserError

# gRPC status names. Predictions have no side effects on the server, so they may be sent twice.
WORTH_A_RETRY = ("UNAVAILABLE", "ABORTED", "CANCELLED")


class ServerError(UserError):
    """The server did not answer, or did not return boxes.

    Attributes:
        code: gRPC status name, also for REST: "UNAVAILABLE", "NOT_FOUND", "DEADLINE_EXCEEDED", ...
    """

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Retry:
    """Exponential backoff with full jitter: random pauses up to a bound that doubles with each attempt.

    The jitter keeps many clients from retrying at the same moment when a server comes back.

    Attributes:
        first: upper bound of the first pause, in seconds.
        longest: upper bound of any pause, in seconds.
        attempts: maximum number of attempts; None: until the deadline.
    """

    first: float = 0.1
    longest: float = 2.0
    attempts: int | None = None

    def pauses(self, draw: Callable[[float, float], float] = random.uniform) -> Iterator[float]:
        """Pauses in seconds before the second attempt, the third, and so on.

        >>> list(Retry(first=1, longest=3, attempts=4).pauses(lambda low, high: high))
        [1, 2, 3]
        """
        bound, attempt = self.first, 1
        while self.attempts is None or attempt < self.attempts:
            yield draw(0.0, bound)
            bound, attempt = min(2 * bound, self.longest), attempt + 1
