"""Annotated folders to review, made once."""

from __future__ import annotations

from tiny import several, snippets, write_static

from textlabel import Labeler, audit

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> good plot"
RIGHT_TO_LEFT = "فيلم جيد جدا، والممثلون رائعون"
CHINESE = "電池壽命很短但是螢幕很好看"


def labeled(folder, n=60, kind="single", format="dataset"):
    """Return an annotated, sealed folder of n rows, three of them with unusual texts."""
    static = write_static(folder / "static")
    if kind == "multi":
        labeler = Labeler(static, recipe="multilabel", cache=False).fit(several(60))
    elif kind == "score":
        rows = [{**row, "label": float(i % 5)} for i, row in enumerate(snippets(60))]
        labeler = Labeler(static, recipe="regression", cache=False).fit(rows)
    else:
        labeler = Labeler(static, cache=False).fit(snippets(100))
    labeler.save(folder / "model")
    texts = list(dict.fromkeys(row["text"] for row in snippets(4 * n, seed=3)))[:n]
    texts[:3] = [HOSTILE, RIGHT_TO_LEFT, CHINESE]
    corpus = [{"id": f"r{i}", "text": text, "section": "ab"[i % 2]} for i, text in enumerate(texts)]
    return labeler.export(labeler.annotate(corpus), folder / "labeled", format)


def drawn(folder, size=20):
    audit.draw(folder, size, seed=0, **({"tolerance": 0.5} if _score(folder) else {}))
    return folder


def _score(folder):
    from textlabel.audit.seal import open_sealed

    return not open_sealed(folder).classes
