"""Training checkpoints: one safetensors file a stage, replaced atomically, never pickled.

The file's metadata holds the loop's state and a fingerprint of everything that decides the result
(recipe, seed, rows, backbone); resuming with another fingerprint is refused with the difference named.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.engine.players import Keeper, Player, State

log = logging.getLogger("textlabel")


class NoCheckpoint:
    """Saves nothing and finds nothing."""

    def stage(self, name: str) -> NoCheckpoint:
        """Return itself."""
        return self

    def resume(self, players: dict[str, Player], keeper: Keeper) -> State | None:
        """Return None: start from the beginning."""
        return None

    def maybe_save(self, state: State, players: dict[str, Player], keeper: Keeper) -> None:
        """Do nothing."""

    def finish(self, state: State, players: dict[str, Player], keeper: Keeper) -> None:
        """Do nothing."""


@dataclass
class Checkpoint:
    """Saves the training of one stage.

    Parameters
    ----------
    folder : made when first written to.
    fingerprint : JSON-ready facts that decide the result.
    every : seconds between saves; 0 saves after every step.
    name : the stage, as part of the file's name.
    """

    folder: Path
    fingerprint: Mapping[str, Any]
    every: float = 30.0
    name: str = "stage"
    _last: float = field(default_factory=time.monotonic)

    def stage(self, name: str) -> Checkpoint:
        """Return the checkpoint of one stage of this run."""
        return Checkpoint(self.folder, self.fingerprint, self.every, name)

    @property
    def path(self) -> Path:
        """The file of this stage."""
        return self.folder / f"{self.name}.safetensors"

    def resume(self, players: dict[str, Player], keeper: Keeper) -> State | None:
        """Load what was saved into the players and return the loop's state; None if nothing was.

        Raises
        ------
        TrainingError : the file belongs to another run; the message names what differs.
        """
        from safetensors import SafetensorError, safe_open

        from textlabel.engine.players import State

        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                record = json.loads(file.metadata()["textlabel"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            message = f"{self.path} is damaged ({error}); delete the folder to start anew"
            raise TrainingError(message) from None
        self._refuse_another_run(record["fingerprint"])
        for name, player in players.items():
            _load_player(name, player, tensors)
        prefix = "best/"
        device = next(iter(keeper.parameters.values())).device if keeper.parameters else None
        keeper.best = {
            k.removeprefix(prefix): v.to(device) for k, v in tensors.items() if k.startswith(prefix)
        }
        log.info("resumed %s at step %d", self.path, record["state"]["step"])
        return State(**{**record["state"], "best": float(record["state"]["best"])})

    def maybe_save(self, state: State, players: dict[str, Player], keeper: Keeper) -> None:
        """Save if the last save is old enough."""
        if time.monotonic() - self._last >= self.every:
            self.finish(state, players, keeper)
            self._last = time.monotonic()

    def finish(self, state: State, players: dict[str, Player], keeper: Keeper) -> None:
        """Save now; a finished stage is found again as done."""
        from safetensors.torch import save

        from textlabel.engine.process import accelerator

        if not accelerator().is_main_process:
            return
        tensors = {f"best/{name}": value for name, value in keeper.best.items()}
        for name, player in players.items():
            tensors |= _player_tensors(name, player)
        loop = {**asdict(state), "best": str(state.best)}  # infinity is not JSON
        record = {"fingerprint": dict(self.fingerprint), "state": loop}
        data = save(
            {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"textlabel": json.dumps(record)}
        )
        write_atomically(self.path, data)

    def _refuse_another_run(self, saved: Mapping[str, Any]) -> None:
        keys = sorted(set(saved) | set(self.fingerprint))
        differ = [k for k in keys if saved.get(k) != self.fingerprint.get(k)]
        if differ:
            raise TrainingError(
                f"{self.path}: this checkpoint belongs to another run; different: {', '.join(differ)}. "
                "Repeat that run's command to resume it, or delete the folder to start anew"
            )


def rows_digest(texts: Sequence[str], targets: Iterable[Any]) -> str:
    """Return a sha256 (hex) that tells labeled rows from others, for a fingerprint."""
    digest = hashlib.sha256()
    for text, target in zip(texts, targets, strict=True):
        told = target.tolist() if np.ndim(target) else target  # an array leaves out what is in its middle
        digest.update(f"{told!r}\x1f{text}\x1e".encode())
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: a temporary file beside it, flushed to disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _player_tensors(name: str, player: Player) -> dict[str, Tensor]:
    found = {f"{name}/parameter/{key}": p.data for key, p in player.parameters.items()}
    found |= {f"{name}/buffer/{key}": value for key, value in player.buffers.items()}
    if player.optimizer is not None:
        for number, entries in player.optimizer.state_dict()["state"].items():
            found |= {f"{name}/optimizer/{number}/{key}": value for key, value in entries.items()}
    return found


def _load_player(name: str, player: Player, tensors: Mapping[str, Tensor]) -> None:
    for key, parameter in player.parameters.items():
        parameter.data.copy_(tensors[f"{name}/parameter/{key}"])
    for key, buffer in player.buffers.items():
        buffer.copy_(tensors[f"{name}/buffer/{key}"])
    prefix = f"{name}/optimizer/"
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix):
            number, entry = key.removeprefix(prefix).split("/", 1)
            state.setdefault(int(number), {})[entry] = value
    if player.optimizer is not None and state:
        groups = player.optimizer.state_dict()["param_groups"]
        player.optimizer.load_state_dict({"state": state, "param_groups": groups})
