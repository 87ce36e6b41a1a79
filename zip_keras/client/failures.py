"""What can go wrong between client and server, and when trying again helps."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zip_keras.errors import UserError

# By gRPC's names. A prediction changes nothing on the server, so it may be sent twice.
WORTH_A_RETRY = ("UNAVAILABLE", "ABORTED", "CANCELLED")


class ServerError(UserError):
    """The server did not answer, or not with boxes.

    Attributes:
        code: gRPC's name of the status, for REST too: "UNAVAILABLE", "NOT_FOUND", "DEADLINE_EXCEEDED", ...
    """

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Retry:
    """How long to wait before the next attempt: a random time up to a bound that doubles ("full jitter").

    Many clients of a server that comes back do not all ask at the same moment.

    Attributes:
        first: seconds, bound of the first pause.
        longest: seconds, bound of any pause.
        attempts: at most; None: until the deadline.
    """

    first: float = 0.1
    longest: float = 2.0
    attempts: int | None = None

    def pauses(self, draw: Callable[[float, float], float] = random.uniform) -> Iterator[float]:
        """Seconds before the second attempt, the third, and so on.

        >>> list(Retry(first=1, longest=3, attempts=4).pauses(lambda low, high: high))
        [1, 2, 3]
        """
        bound, attempt = self.first, 1
        while self.attempts is None or attempt < self.attempts:
            yield draw(0.0, bound)
            bound, attempt = min(2 * bound, self.longest), attempt + 1
