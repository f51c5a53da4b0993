import pytest

from textlabel.errors import ExportError
from textlabel.export import hub


def test_hub_is_no_folder(tmp_path):
    with pytest.raises(ExportError, match=r"call textlabel\.export\.hub\.push"):
        hub.write(None, tmp_path / "out", {})
    assert not (tmp_path / "out").exists()
