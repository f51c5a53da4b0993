from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import sealed as made

from textlabel import audit
from textlabel.audit.draws import draws
from textlabel.audit.seal import open_sealed
from textlabel.errors import AuditError, ExportError


def sheet(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sheet_shows_texts_only(tmp_path):
    rows, _ = made.corpus(60)
    folder = made.write(rows, tmp_path / "out")
    draw, path = audit.draw(folder, 20, seed=3)
    lines = sheet(path)
    assert list(lines[0]) == ["textlabel_sheet", "id", "text", "label", "note"]
    assert {line["id"] for line in lines} == {f"r{i}" for i in draw.rows}
    assert all(not line["label"] and line["textlabel_sheet"] == f"audit-1/{line['id'][1:]}" for line in lines)
    assert [line["id"] for line in lines] != sorted((line["id"] for line in lines), key=lambda i: int(i[1:]))


def test_the_models_label_is_shown_only_when_asked_for(tmp_path):
    rows, _ = made.corpus(60)
    folder = made.write(rows, tmp_path / "out")
    draw, path = audit.draw(folder, 20, seed=3, out=tmp_path / "s.jsonl", show_labels=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(line["model_label"] == made.NAMES[rows[int(line["id"][1:])]["label"]] for line in lines)
    assert json.loads((folder / "audit" / "draw-1.json").read_text())["labels_shown"] is True
    assert draw.seed == 3


def test_further_draws_come_from_the_rest_and_the_seed_repeats_a_draw(tmp_path):
    rows, _ = made.corpus(60)
    one, two = made.write(rows, tmp_path / "one"), made.write(rows, tmp_path / "two")
    first, _ = audit.draw(one, 40, seed=1)
    again, _ = audit.draw(two, 40, seed=1)
    assert (first.rows == again.rows).all()
    second, path = audit.draw(one, 20, seed=1)
    assert not set(first.rows) & set(second.rows)
    assert second.number == 2
    assert path.name == "sheet-2.csv"
    with pytest.raises(AuditError, match="size = 1: expected no draw"):
        audit.draw(one, 1)
    assert [len(draw.rows) for draw in draws(open_sealed(one))] == [40, 20]


@pytest.mark.slow
def test_every_row_of_the_population_is_drawn_equally_often(tmp_path):
    rows, _ = made.corpus(12)
    source = ["human" if i == 5 else "model" for i in range(12)]
    rows = rows.remove_columns("source").add_column("source", source).select_columns(rows.column_names)
    counts = np.zeros(12)
    folder = made.write(rows, tmp_path / "out")
    for seed in range(120):
        drawn, _ = audit.draw(folder, 4, seed=seed)
        counts[drawn.rows] += 1
        for path in (folder / "audit").iterdir():
            path.unlink()
    assert counts[5] == 0
    # 120 draws of 4 from 11: mean 43.6, standard deviation 5.3
    assert (abs(np.delete(counts, 5) - 120 * 4 / 11) < 4 * 5.3).all()


def test_an_identical_text_is_asked_once(tmp_path):
    rows, _ = made.corpus(60, copies=3)
    folder = made.write(rows, tmp_path / "out")
    draw, path = audit.draw(folder, 30, seed=0)
    texts = [line["text"] for line in sheet(path)]
    assert len(texts) == len(set(texts)) < len(draw.rows)


def test_scores_need_a_tolerance_declared_once(tmp_path):
    rows, _ = made.scores(40)
    folder = made.write(rows, tmp_path / "out")
    with pytest.raises(AuditError, match="need a tolerance"):
        audit.draw(folder, 5)
    audit.draw(folder, 5, tolerance=0.5)
    with pytest.raises(AuditError, match=r"the first draw declared 0\.5"):
        audit.draw(folder, 5, tolerance=1.0)
    assert audit.draw(folder, 5)[0].tolerance == 0.5
    classes, _ = made.corpus(20)
    with pytest.raises(AuditError, match="a tolerance is for scores"):
        audit.draw(made.write(classes, tmp_path / "classes"), 5, tolerance=0.5)


def test_a_sheet_is_never_replaced(tmp_path):
    rows, _ = made.corpus(20)
    folder = made.write(rows, tmp_path / "out")
    (tmp_path / "mine.csv").write_text("precious")
    with pytest.raises(ExportError, match="is there already"):
        audit.draw(folder, 5, out=tmp_path / "mine.csv")
    with pytest.raises(ExportError, match=r"\.csv or \.jsonl"):
        audit.draw(folder, 5, out=tmp_path / "mine.xlsx")
    assert not draws(open_sealed(folder))
    assert (tmp_path / "mine.csv").read_text() == "precious"


def test_a_draw_that_was_edited_is_refused(tmp_path):
    rows, _ = made.corpus(60)
    folder = made.write(rows, tmp_path / "out")
    audit.draw(folder, 20)
    path = folder / "audit" / "draw-1.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "rows": data["rows"][:-3]}))
    with pytest.raises(AuditError, match="was changed since the draw"):
        audit.draw(folder, 20)


@pytest.mark.slow
def test_processes_that_draw_at_once_take_turns(tmp_path):
    rows, _ = made.corpus(200)
    folder = made.write(rows, tmp_path / "out")
    code = "import sys; from textlabel import audit; audit.draw(sys.argv[1], 30)"
    workers = [subprocess.Popen([sys.executable, "-c", code, str(folder)]) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    found = draws(open_sealed(folder))
    assert [draw.number for draw in found] == [1, 2, 3]
    assert len(np.unique(np.concatenate([draw.rows for draw in found]))) == 90


def test_one_seed_for_two_draws_picks_other_places_of_what_is_left(tmp_path):
    """With the same places, draws after the first would look again where the first looked."""
    rows, _ = made.corpus(1000)
    folder = made.write(rows, tmp_path / "out")
    first, second = (np.sort(audit.draw(folder, 100, seed=7)[0].rows) for _ in range(2))
    # uniform draws: the distance to the nearest row of the other has mean n / (2 m) = 5
    nearest = np.abs(second[:, None] - first[None]).min(axis=1)
    assert nearest.mean() > 3.5


def test_a_sheet_that_cannot_be_written_says_how_to_get_it(tmp_path):
    rows, _ = made.corpus(20)
    folder = made.write(rows, tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"audit sheet .* --draw 1 --out FILE"):
        audit.draw(folder, 5, out=tmp_path / "file" / "s.csv")
    assert audit.sheet(folder, 1, tmp_path / "s.csv", show_labels=True) == 5
    assert draws(open_sealed(folder))[0].labels_shown
