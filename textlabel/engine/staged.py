"""What the nodes of a cluster need to make shards, laid down beside the shards: the model, and the texts.

A piece of texts is one parquet object with checksums of its pages. All of it goes when the run ends; what a
kill leaves goes with the next attempt, wherever that makes the shards.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from textlabel.corpus.remote import fetch
from textlabel.engine.shards import Objects
from textlabel.errors import BundleError, ExportError

if TYPE_CHECKING:
    import pyarrow as pa

    from textlabel.models.bundle import Bundle

log = logging.getLogger("textlabel")


class Staged:
    """Model and texts for the nodes of a cluster.

    Parameters
    ----------
    checkpoint : place of the shards that are made of them, which all nodes reach.
    plan : digest of their plan, so that no folder of anybody else is taken for this one.
    """

    def __init__(self, checkpoint: str, plan: str) -> None:
        place = f"{checkpoint}/staged-{plan[:16]}"
        self._objects, self._model = Objects(place), Objects(f"{place}/model")

    def put_model(self, bundle: Bundle) -> None:
        """Write the model with all that it reads, so that a node needs nothing of its own."""
        with TemporaryDirectory(prefix="textlabel-") as folder:
            saved = bundle.save(Path(folder) / "model", self_contained=True)
            for path in sorted(path for path in saved.rglob("*") if path.is_file()):
                self._model.put_file(path.relative_to(saved).as_posix(), path)

    def model(self, folder: Path) -> Bundle:
        """Return the model, copied into a folder that may go once a predictor is made of it.

        Raises
        ------
        BundleError : it is missing or damaged.
        """
        from textlabel.models.bundle import Bundle

        fetch(self._model.place, folder, BundleError)
        return Bundle.load(folder)

    def put_texts(self, number: int, texts: Any) -> None:
        """Write the texts of a shard, a column of Arrow."""
        import pyarrow as pa
        from pyarrow import parquet

        content = io.BytesIO()
        parquet.write_table(pa.table({"text": texts}), content, compression="zstd", write_page_checksum=True)
        self._objects.put(_name(number), content.getvalue())

    def texts(self, number: int) -> list[str]:
        """Return the texts of a shard.

        Raises
        ------
        ExportError : they are missing or damaged.
        """
        import pyarrow as pa

        content = self._objects.get(_name(number))
        where = f"{self._objects.shown}/{_name(number)}"
        if content is None:
            raise ExportError(f"{where} is missing: repeat the command, which writes it again")
        try:
            return _read(content).column("text").to_pylist()  # type: ignore[no-any-return]
        except (pa.ArrowException, OSError) as error:
            raise ExportError(
                f"{where} is damaged ({error}): repeat the command, which writes it again"
            ) from error

    def discard(self) -> None:
        """Delete all of it; where that fails, only warn, for the run has ended by then."""
        try:
            self._objects.delete()
        except ExportError as error:
            log.warning("%s", error)


def _read(content: bytes) -> pa.Table:
    from pyarrow import parquet

    return parquet.read_table(io.BytesIO(content), page_checksum_verification=True)


def _name(number: int) -> str:
    return f"texts-{number:05d}.parquet"
