"""What other tools make of few labels, on the draws that `few_labels_auto.py` uses.

    python recipes/benchmarks/few_labels_peers.py --data FOLDER --python PYTHON [--peers setfit]

PYTHON is an interpreter that has setfit 1.2, sentence-transformers, peft and scikit-learn. SetFit takes a
minute or more a run, so results are kept in `results/few_labels_peers.json` as they come, and what is there
is not run again. Test rows are only predicted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from _bench import MORE_SETS, SETS, Split, arguments, draw, environment, public

from textlabel.models.backbone import load_backbone
from textlabel.trust.metrics import macro_f1

WORKER = Path(__file__).with_name("_peers_few_labels.py")
POOL, TEST = 4000, 2000


def drawn(split: Split, per_class: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Return texts and labels of one draw."""
    index = draw(split.pool_labels, per_class, seed)
    return [split.pool[i] for i in index], split.pool_labels[index]


def run(peer: str, split: Split, per_class: int, seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    texts, labels = drawn(split, per_class, seed)
    job = {
        "backbone": str(chosen.folder),
        "texts": texts,
        "labels": labels.tolist(),
        "test": split.test,
        "names": split.classes,
        "seed": seed,
        "threads": chosen.threads,
    }
    environ = {**os.environ, "OMP_NUM_THREADS": str(chosen.threads)}
    made = subprocess.run(
        [chosen.python, str(WORKER), peer], input=json.dumps(job), capture_output=True, text=True, env=environ
    )
    if made.returncode:
        raise SystemExit(f"{peer} failed on {split.name}:\n{made.stderr[-2000:]}")
    found = json.loads(made.stdout)
    labels = np.array(found["labels"])
    return {
        "peer": peer,
        "set": split.name,
        "per_class": per_class,
        "seed": seed,
        "backbone": chosen.backbone,
        "accuracy": round(float(np.mean(labels == split.test_labels)), 4),
        "macro_f1": round(macro_f1(split.test_labels, labels, len(split.classes)), 4),
        "seconds": found["seconds"],
        "threads": chosen.threads,
    }


def main() -> None:
    parser = arguments(__doc__ or "", seeds=5)
    parser.add_argument("--python", required=True, help="interpreter that has the peers")
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2")
    parser.add_argument("--peers", nargs="+", default=["tfidf", "sentence_transformers_lr"])
    parser.add_argument("--sets", nargs="+", default=[*SETS, *MORE_SETS])
    parser.add_argument("--per-class", type=int, nargs="+", default=[8])
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    if not chosen.data:
        raise SystemExit("no --data: nothing to measure")
    chosen.folder = load_backbone(chosen.backbone).folder
    path = chosen.out / "few_labels_peers.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    key = ("peer", "set", "per_class", "seed", "backbone")
    known = {tuple(row[k] for k in key) for row in rows}
    splits = [s for name in chosen.sets if (s := public(name, chosen.data, (POOL, TEST))) is not None]
    for seed in range(chosen.seeds):
        for per_class in chosen.per_class:
            for split in splits:
                for peer in chosen.peers:
                    if (peer, split.name, per_class, seed, chosen.backbone) in known:
                        continue
                    rows.append(run(peer, split, per_class, seed, chosen))
                    print(rows[-1], flush=True)
                    facts = {**environment(), "rows": rows}
                    path.write_text(json.dumps(facts, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
