"""A body cut in two between its layers: what is frozen below, what trains above.

No family is named here. The list of numbered layers is found by structure, its lower part is left out for
the length of a forward pass, and what enters the first layer above is put in by a hook: masks, positions and
norms stay the family's own business. Whether that is all there is to a family, `cut_body` tries out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from textlabel.models.classifier import LAYER, token_vectors

#: difference relative to the largest value that rounding may make between the whole body and its halves
TOLERANCE = 1e-4


class Cut:
    """A body in two halves.

    Parameters
    ----------
    body : runs ids and mask (b, t); its weights and its modules stay where they are.
    parent, name : where the list of its layers is.
    depth : how many layers are below the cut.
    read : how many of the layers above it give vectors, as `BackboneInfo.layers`.
    """

    def __init__(self, body: nn.Module, parent: nn.Module, name: str, depth: int, read: int = 1) -> None:
        self.body, self.parent, self.name, self.read = body, parent, name, read
        self.layers: Any = getattr(parent, name)
        self.upper = nn.ModuleList(self.layers[depth:])

    def below(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return what enters the first layer above the cut (b, t, d)."""

        def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            raise _ReachedError(args[0] if args else kwargs["hidden_states"])

        try:
            self._run(stop, ids, mask)
        except _ReachedError as reached:
            return reached.hidden
        raise RuntimeError("a layer was never called")

    def above(self, hidden: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Return token vectors (b, t, read * d), given what enters the first layer above the cut."""

        def put(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})

        setattr(self.parent, self.name, self.upper)
        try:
            found: Tensor = self._run(put, ids, mask)
        finally:
            setattr(self.parent, self.name, self.layers)
        return found

    def train(self) -> None:
        """Put the upper half in training mode, the rest in eval mode: nothing frozen is dropped."""
        self.body.eval()
        self.upper.train()

    def _run(self, hook: Callable[..., Any], ids: Tensor, mask: Tensor) -> Any:
        handle = self.upper[0].register_forward_pre_hook(hook, with_kwargs=True)
        try:
            return token_vectors(self.body, ids, mask, self.read)
        finally:
            handle.remove()


class _ReachedError(Exception):
    """The first layer above the cut is about to run."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


def cut_body(body: nn.Module, depth: int, ids: Tensor, mask: Tensor, read: int = 1) -> Cut | None:
    """Return ``body`` cut above its lowest ``depth`` layers, or None where its halves are not the whole.

    Parameters
    ----------
    ids, mask : some rows (b, t) on which both are compared, in eval mode.
    read : how many layers give vectors, all of them above the cut.
    """
    lists = [
        name
        for name, module in body.named_modules()
        if isinstance(module, nn.ModuleList) and LAYER.search(f"{name}.0.") and len(module) > depth
    ]
    if len(lists) != 1:
        return None
    parent, _, name = lists[0].rpartition(".")
    cut = Cut(body, body.get_submodule(parent), name, depth, read)
    body.eval()
    with torch.no_grad():
        whole = token_vectors(body, ids, mask, read)
        try:
            halves = cut.above(cut.below(ids, mask) * mask[..., None], ids, mask)
        except (RuntimeError, LookupError, TypeError, AttributeError):
            return None  # a family that needs its lower layers while the upper ones run
    kept = mask.bool()
    difference = (whole[kept] - halves[kept]).abs().max() if halves.shape == whole.shape else torch.inf
    return cut if difference <= TOLERANCE * whole[kept].abs().max() else None
