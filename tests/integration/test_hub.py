"""Push to a Hub on loopback and load it back; read and write what hf:// names there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from textlabel.resources import resource

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def endpoint():
    script = str(HERE / "hub_server.py")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


@pytest.mark.parametrize(
    "action",
    [
        "push_dataset",
        pytest.param("push_branch", marks=pytest.mark.slow),
        "push_folder",
        pytest.param("labeler", marks=pytest.mark.slow),
        "refused",
    ],
)
def test_round_trip(action, endpoint, tmp_path):
    run("hub_client.py", action, endpoint, tmp_path)


@pytest.mark.parametrize(
    "action",
    [
        "pull_request",
        pytest.param("splits", marks=pytest.mark.slow),
        "refused_commit",
        pytest.param("lost_answer", marks=pytest.mark.slow),
        pytest.param("busy_upload", marks=pytest.mark.slow),
        "wrong_token",
        pytest.param("by_command", marks=pytest.mark.slow),
        pytest.param("cut", marks=pytest.mark.slow),
    ],
)
def test_faults(action, endpoint, tmp_path):
    run("hub_faults.py", action, endpoint, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["read", "write", "resume", "refuse", "personal"])
def test_urls(action, endpoint, tmp_path):
    run("hub_urls.py", action, endpoint, tmp_path)


def run(script, action, endpoint, tmp_path):
    settings = {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "hf_test",
        "TEXTLABEL_HOME": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join((str(HERE.parent), str(HERE.parents[1]))),  # this very tree
    }
    command = [sys.executable, str(HERE / script), action, str(tmp_path / "model")]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hf_test" not in done.stdout + done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file() and b"hf_test" in path.read_bytes()] == []


@pytest.mark.slow
def test_the_example_of_the_gallery(endpoint, tmp_path, tiny_backbone):
    script = Path(str(resource("recipes/examples/hub_round_trip.py")))
    settings = {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "hf_test",
        "TEXTLABEL_HOME": str(tmp_path / "home"),
    }
    command = [
        sys.executable,
        str(script),
        "tester/gallery",
        "--backbone",
        str(tiny_backbone),
        "--rows",
        "40",
    ]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "40 rows came back" in done.stdout
