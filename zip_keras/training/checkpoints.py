"""Search for readable checkpoints of a run, based on the files and not on TensorFlow's list of them."""

import dataclasses
import re
from pathlib import Path

import tensorflow as tf

from zip_keras.errors import UserError

STATE_FILE = "checkpoint"  # TensorFlow's list of the checkpoints in a folder
_PART = re.compile(r"ckpt-(\d+)\.(?:index|data-\d{5}-of-\d{5})")
_STEP = "global_step/.ATTRIBUTES/VARIABLE_VALUE"
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclasses.dataclass(frozen=True)
class Found:
    """The checkpoints of a run.

    Attributes:
        readable: steps of the complete checkpoints, newest first.
        damaged: reasons why the others cannot be read, by step, newest first.
    """

    readable: tuple[int, ...] = ()
    damaged: dict[int, str] = dataclasses.field(default_factory=dict)


def prefix(directory: Path, step: int) -> str:
    """The path prefix of the checkpoint of a step, without `.index` or `.data-...`."""
    return str(directory / f"ckpt-{step}")


def find_checkpoints(directory: Path) -> Found:
    """Read every checkpoint in a folder completely and verify its checksums.

    Raises:
        UserError: there are checkpoints, or a list of them, but none can be read.
    """
    names = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
    steps = sorted({int(match[1]) for name in names if (match := _PART.fullmatch(name))}, reverse=True)
    reasons = {step: _damage(directory, step) for step in steps}
    found = Found(
        tuple(step for step, reason in reasons.items() if reason is None),
        {step: reason for step, reason in reasons.items() if reason is not None},
    )
    if found.damaged and not found.readable:
        raise UserError(
            f"{directory}: no checkpoint can be read ({'; '.join(found.damaged.values())}); nothing was changed. Put a "
            "copy back, or start a new run folder"
        )
    if not steps and STATE_FILE in names:
        raise UserError(
            f"{directory / STATE_FILE}: lists checkpoints, but there is no ckpt-* in this folder, and files outside of "
            "it are not read; put them back, or start a new run folder"
        )
    return found


def record_checkpoints(directory: Path, steps: list[int]) -> None:
    """Write TensorFlow's list of checkpoints, which its manager reads when it resumes.

    Args:
        directory: folder of the checkpoints.
        steps: steps of the checkpoints to list, oldest first; the run resumes from the last one.
    """
    prefixes = [prefix(directory, step) for step in steps]
    times = [Path(f"{name}.index").stat().st_mtime for name in prefixes]
    tf.compat.v1.train.update_checkpoint_state(
        str(directory),
        prefixes[-1],
        all_model_checkpoint_paths=prefixes,
        all_model_checkpoint_timestamps=times,
        last_preserved_timestamp=min(times) - 1.0,
    )


def _damage(directory: Path, step: int) -> str | None:
    """The reason why a checkpoint cannot be used; None if it is intact."""
    name = prefix(directory, step)
    index = Path(f"{name}.index")
    parts = [index, *directory.glob(f"ckpt-{step}.data-*")]
    if not index.is_file():
        return f"ckpt-{step}: its .index is missing"
    if any(part.resolve().parent != directory.resolve() for part in parts):
        return f"ckpt-{step}: its files are outside of the run"
    try:
        reader = tf.train.load_checkpoint(name)
        names = reader.get_variable_to_shape_map()
        if _STEP not in names or _OBJECTS not in names:
            return f"ckpt-{step}: not a checkpoint of a run"
        for variable in names:  # reading verifies the checksum of each
            reader.get_tensor(variable)
        stored = int(reader.get_tensor(_STEP))
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return f"ckpt-{step}: {reason[:200]}"
    return None if stored == step else f"ckpt-{step}: holds step {stored}"
