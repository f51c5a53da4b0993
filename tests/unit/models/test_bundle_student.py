"""The student of a cascade travels with the model, hashed like the rest of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tiny import snippets, write_static

from textlabel import Labeler
from textlabel.engine.optimize import Trial
from textlabel.engine.student import Lesson
from textlabel.errors import BundleError
from textlabel.models.backend_fit import BackendFit

ROWS = [{"id": row["id"], "text": row["text"]} for row in snippets(80, seed=1)]


@pytest.fixture(scope="module")
def labeler(tmp_path_factory):
    """Return a labeler with a student whose backbone is where it was not when the model was made."""
    static = write_static(tmp_path_factory.mktemp("static") / "words")
    made = Labeler(write_static(static.with_name("model")), cascade=True, cache=False).fit(snippets(80))
    lesson = Lesson.prepare(made.bundle, [row["text"] for row in snippets(1300, seed=5)], str(static), 0.005)
    made.bundle.student = lesson.trial(made.bundle, [Trial("torch", 1.0, BackendFit("torch"))]).student
    shutil.move(static, static.with_name("gone"))
    made.bundle.student.classifier.folder = static.with_name("gone")
    return made


@pytest.fixture
def model(labeler, tmp_path):
    return labeler.save(tmp_path / "model")


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_reloading_changes_nothing(labeler, model):
    again = Labeler.load(model, cascade=True, cache=False)
    assert again.bundle.digest() == labeler.bundle.digest()
    assert again.bundle.student.to_json() == labeler.bundle.student.to_json()
    before, after = labeler.predict(ROWS), again.predict(ROWS)
    assert 0 < before.by_student.sum() < len(ROWS)
    assert before.arrays().keys() == after.arrays().keys()
    for name, array in before.arrays().items():
        np.testing.assert_array_equal(array, after.arrays()[name])


@pytest.mark.slow
def test_another_process_needs_nothing_but_the_folder(labeler, model):
    code = (
        "import json, sys; from textlabel import Labeler; "
        "found = Labeler.load(sys.argv[1], cascade=True, cache=False).predict(json.loads(sys.argv[2])); "
        "print(json.dumps(found.by_student.tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, model, json.dumps(ROWS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == labeler.predict(ROWS).by_student.tolist()


def test_hashes_cover_the_files(model):
    listed = json.loads((model / "textlabel.json").read_text())["files"]
    names = {"student/student.safetensors", "student/body/model.safetensors", "student/body/tokenizer.json"}
    assert names <= set(listed)
    assert {name.rsplit(".", 1)[-1] for name in contents(model) if name.startswith("student/")} == {
        "safetensors",
        "json",
    }
    path = model / "student" / "student.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"student\.safetensors was changed or damaged"):
        Labeler.load(model)
    path.unlink()
    with pytest.raises(BundleError, match=r"student\.safetensors is missing"):
        Labeler.load(model)


def test_no_path_of_this_machine_is_told(labeler, model):
    assert (
        labeler.bundle.student.classifier.folder.parent.as_posix()
        not in (model / "textlabel.json").read_text()
    )


def test_saving_over_itself(model):
    before = contents(model)
    labeler = Labeler.load(model)
    labeler.save(model)
    assert contents(model) == before
    labeler.save(model)  # its files are where they were, in the new folder
    assert contents(model) == before


def test_the_digest_sees_it(labeler):
    bundle = labeler.bundle
    student = bundle.student
    digests = {bundle.digest(), type(bundle)(**{**vars(bundle), "student": None}).digest()}
    for change in ({"threshold": 0.2}, {"reach": 1.0}):
        other = type(student)(**{**vars(student), **change})
        digests.add(type(bundle)(**{**vars(bundle), "student": other}).digest())
    with_other_head = type(bundle)(**vars(bundle))
    before = student.classifier.head.bias.detach().clone()
    student.classifier.head.bias.data += 1
    digests.add(with_other_head.digest())
    student.classifier.head.bias.data.copy_(before)
    assert len(digests) == 5


def test_a_model_from_before_there_were_students_loads(model):
    path = model / "textlabel.json"
    data = json.loads(path.read_text())
    del data["student"]
    path.write_text(json.dumps(data))
    assert Labeler.load(model).bundle.student is None
