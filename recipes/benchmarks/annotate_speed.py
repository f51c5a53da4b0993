"""How fast each backend labels on a CPU, beside other tools on the same texts in the same minutes.

    python recipes/benchmarks/annotate_speed.py --data FOLDER [--texts 400] [--rounds 5] [--peers PYTHON ...]

Texts of mixed lengths, from a line to a document, cut at 256 tokens. Every contender is a process of its own
that loads, labels other texts once, and then waits for its turn: rounds are interleaved in random order, and
everything counts from text to label, tokenization included. Peers that an interpreter lacks are skipped;
--peers names further interpreters (their own environments) to look for them in.

Beside them stand the matrix products that this machine is capable of, measured in every round, too: the share
of that peak is what the layers' arithmetic alone would need. Agreement is with labels of `torch` in float32.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_LENGTH = 256
#: corpus files and their shares of the texts
MIX = {
    "blitzer_amazon/books": 7,
    "mr_movie_snippets/all": 4,
    "movie_reviews_long/all": 2,
    "arxiv_cs_math/*": 3,
    "banking77/*": 2,
    "uci_sentences/*": 2,
}
PEERS = (
    "transformers pipeline, batch 32",
    "transformers pipeline, batch 32, sorted",
    "setfit predict",
    "sentence-transformers encode",
    "sentence-transformers encode, OpenVINO",
    "ONNX Runtime int8, sorted",
)
#: whose products each of ours is held against
PRECISION = {
    "textlabel torch": "float32",
    "textlabel torch_bf16": "bfloat16",
    "textlabel openvino_bf16": "bfloat16",
    "textlabel openvino_int8": "int8",
}
#: further texts, on which backends are made ready and contenders warm up
OTHERS = 400
WORKER = "--worker"
Work = Callable[[list[str]], Any]


# --- contenders: each takes the folder of the models, and returns what labels texts ----------------


def ours(folder: Path, backend: str) -> Work:
    from textlabel.engine.predict import Featurizer, head_logits
    from textlabel.engine.predictor import Predictor
    from textlabel.models.bundle import Bundle

    bundle = Bundle.load(folder / "bundle")
    if backend == "auto":
        predictor = Predictor(bundle, "auto")
        return lambda texts: predictor([""] * len(texts), texts).logits.argmax(axis=1)
    files = {fit.backend: fit.folder for fit in bundle.backends}
    runs = Featurizer(bundle.classifier, backend, folder=files.get(backend))
    return lambda texts: head_logits(bundle.classifier, runs.features(texts)).argmax(axis=1)


def pipeline(folder: Path, order: bool) -> Work:
    from transformers import pipeline as make

    runs = make("text-classification", model=str(folder / "transformers"), device="cpu")
    options = {"batch_size": 32, "truncation": True, "max_length": MAX_LENGTH}

    def work(texts: list[str]) -> Any:
        runs(sorted(texts, key=len) if order else texts, **options)

    return work


def sentence_transformers(folder: Path, backend: str) -> Work:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder / "sentence-transformers"), device="cpu", backend=backend)
    model.max_seq_length = MAX_LENGTH
    return lambda texts: model.encode(texts, show_progress_bar=False)


def setfit(folder: Path) -> Work:
    import numpy as np
    from setfit import SetFitModel
    from sklearn.linear_model import LogisticRegression

    model = SetFitModel.from_pretrained(str(folder / "sentence-transformers"), device="cpu")
    model.model_body.max_seq_length = MAX_LENGTH
    width = model.model_body.get_sentence_embedding_dimension()
    rng = np.random.default_rng(0)
    model.model_head = LogisticRegression().fit(rng.normal(size=(64, width)), np.arange(64) % 2)
    return lambda texts: model.predict(texts, show_progress_bar=False)


def onnx_int8(folder: Path) -> Work:
    """Return ONNX Runtime on its own dynamic quantization, with our tokens and our sorting."""
    from textlabel.engine.predict import Featurizer, head_logits
    from textlabel.models.bundle import Bundle

    model = Bundle.load(folder / "bundle").classifier
    runs = Featurizer(model, "onnxruntime_int8", folder=folder / "onnx")
    return lambda texts: head_logits(model, runs.features(texts)).argmax(axis=1)


def peak(folder: Path) -> Work:
    """Not a contender: the best of this machine's matrix products, GFLOP/s (int8: GOP/s)."""
    import numpy as np
    import torch

    from textlabel.engine.packed import PackedLinear, packable

    def best(run: Callable[[], object]) -> float:
        seconds = []
        for _ in range(60):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        return 2 * 1024 * 384 * 1536 / float(np.median(seconds)) / 1e9

    def work(texts: list[str]) -> dict[str, float]:
        found: dict[str, float] = {}
        with torch.inference_mode():
            for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
                x, linear = torch.randn(1024, 384, dtype=dtype), torch.nn.Linear(384, 1536, dtype=dtype)
                ways = [linear, PackedLinear(linear)] if packable() else [linear]
                found[name] = max(best(lambda way=way, x=x: way(x)) for way in ways)
            a, b = (torch.randint(-9, 9, size, dtype=torch.int8) for size in ((1024, 384), (1536, 384)))
            found["int8"] = best(lambda: torch._int_mm(a, b.t()))
        return found

    return work


CONTENDERS: dict[str, Callable[[Path], Work]] = {
    **{
        f"textlabel {name}": (lambda folder, name=name: ours(folder, name))
        for name in ("torch", "torch_bf16", "openvino_bf16", "openvino_int8", "auto")
    },
    PEERS[0]: lambda folder: pipeline(folder, order=False),
    PEERS[1]: lambda folder: pipeline(folder, order=True),
    PEERS[2]: setfit,
    PEERS[3]: lambda folder: sentence_transformers(folder, "torch"),
    PEERS[4]: lambda folder: sentence_transformers(folder, "openvino"),
    PEERS[5]: onnx_int8,
    "peak": peak,
}


def threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def worker(name: str, folder: Path) -> None:
    """Load, label the texts that warm up, and then label the others each time a line comes in."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand among the answers
    import torch

    torch.set_num_threads(threads())
    texts, warm = json.loads((folder / "texts.json").read_text())
    work = CONTENDERS[name](folder)
    work(warm)
    print(json.dumps("ready"), file=out, flush=True)
    for _ in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        answer = work(texts)
        seconds = time.perf_counter() - start
        said = answer if isinstance(answer, dict) else None
        if name.startswith(("textlabel", "ONNX")):
            said = [int(label) for label in answer]
        found = {"seconds": seconds, "cpu": time.process_time() - cpu, "answer": said}
        print(json.dumps(found), file=out, flush=True)


# --- the run ---------------------------------------------------------------------------------------


class Contender:
    """A process that waits for its turn."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [python, __file__, WORKER, name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"},
        )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline() == '"ready"\n'

    def turn(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print("go", file=self.process.stdin, flush=True)
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def why(self) -> str:
        _, error = self.process.communicate()
        return error.strip().splitlines()[-1] if error.strip() else "it said nothing"


def texts_of(data: Path | None, count: int) -> list[str]:
    import numpy as np
    from _bench import _rows

    from textlabel.resources import resource

    rng, found = np.random.default_rng(0), []
    for name, share in MIX.items():
        files = sorted(data.glob(f"{name}.jsonl.gz")) if data else []
        rows = [row["text"] for file in files for row in _rows(file)]
        if not rows:
            print(f"skipped {name}: not in --data")
        found += [rows[i] for i in rng.permutation(len(rows))[: count * share // sum(MIX.values())]]
    if not found:
        rows = [row["text"] for row in _rows(resource("data/reviews/movie.jsonl"))]
        found = [rows[i] for i in rng.permutation(len(rows))[:count]]
    return [found[i] for i in rng.permutation(len(found))]


def make_models(folder: Path, backbone: str, texts: list[str]) -> tuple[Any, list[Any]]:
    """Write the same backbone as each contender reads it; return ours, and what `optimize` said."""
    from _bench import bundled, draw

    from textlabel import registry
    from textlabel.labeler import Labeler

    split = bundled("product", classes=2)
    index = draw(split.pool_labels, 64, 0)
    rows = [{"text": split.pool[i], "label": split.classes[split.pool_labels[i]]} for i in index]
    labeler = Labeler(backbone, max_length=MAX_LENGTH).fit(rows)
    trials = labeler.optimize([{"text": text} for text in texts])
    labeler.save(folder / "bundle", self_contained=True)
    model = labeler.bundle.classifier
    for_transformers(model, folder / "transformers")
    for_sentence_transformers(model, folder / "sentence-transformers")
    onnx = registry.load("backend", "onnxruntime_int8")
    if not onnx.lacks():
        onnx.prepare(model, texts, folder / "onnx")
    return labeler.bundle, trials


def theory(bundle: Any, texts: list[str]) -> dict[str, Any]:
    """Return the lengths of the texts in tokens, and what their layers need in arithmetic."""
    import numpy as np

    from textlabel.models.backbone import encode

    model = bundle.classifier
    lengths = np.array([len(row) for row in encode(model.tokenizer, model.info, texts)], float)
    layers, width = model.body.config.num_hidden_layers, model.body.config.hidden_size
    flop = layers * (24 * width**2 * lengths + 4 * width * lengths**2)
    return {
        "texts": len(texts),
        "tokens": int(lengths.sum()),
        "length_percentiles_5_25_50_75_95": np.percentile(lengths, [5, 25, 50, 75, 95]).round(1).tolist(),
        "gflop": round(float(flop.sum()) / 1e9),
    }


def for_transformers(model: Any, folder: Path) -> None:
    """Write the backbone below transformers' own classification head, which is random."""
    from transformers import AutoModelForSequenceClassification

    whole = AutoModelForSequenceClassification.from_config(model.body.config)
    getattr(whole, whole.base_model_prefix).load_state_dict(model.body.state_dict(), strict=False)
    whole.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


def for_sentence_transformers(model: Any, folder: Path) -> None:
    """Write the folder that sentence-transformers and SetFit read."""
    kinds = ["Transformer", "Pooling", "Normalize"][: 3 if model.info.normalize else 2]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    pooling = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}
    modes = {mode: kind == model.info.pooling for kind, mode in pooling.items()}
    model.body.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    for path, value in {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": model.body.config.hidden_size, **modes},
        "sentence_bert_config.json": {"max_seq_length": MAX_LENGTH, "do_lower_case": False},
    }.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(value))
    (folder / "2_Normalize").mkdir(exist_ok=True)


def start(folder: Path, pythons: list[str]) -> dict[str, Contender]:
    """Return the contenders that load, each in the first interpreter that has it."""
    found: dict[str, Contender] = {}
    for name in CONTENDERS:
        for python in [sys.executable, *pythons] if name in PEERS else [sys.executable]:
            contender = Contender(name, python, folder)
            if contender.ready:
                found[name] = contender
                break
            why = contender.why()
        if name not in found:
            print(f"skipped {name}: {why}")
    return found


def told(turns: dict[str, list[dict[str, Any]]], gflop: float) -> dict[str, Any]:
    """Return seconds, ratios to each peer, shares of the peak, and agreement with the reference."""
    import numpy as np

    peaks = [turn["answer"] for turn in turns.pop("peak")]
    peak = {name: round(float(np.median([p[name] for p in peaks]))) for name in peaks[0]}
    seconds = {name: float(np.median([turn["seconds"] for turn in found])) for name, found in turns.items()}
    reference = turns["textlabel torch"][0]["answer"]
    rows: dict[str, Any] = {}
    for name, found in sorted(turns.items(), key=lambda pair: seconds[pair[0]]):
        rows[name] = {
            "median_seconds": round(seconds[name], 3),
            "seconds": [round(turn["seconds"], 3) for turn in found],
            "gflop_per_second": round(gflop / seconds[name]),
        }
        if (answer := found[0]["answer"]) is not None:
            rows[name]["agreement_with_torch"] = float(np.mean(np.equal(answer, reference)))
        if name in PRECISION:
            rows[name]["share_of_peak"] = round(gflop / seconds[name] / peak[PRECISION[name]], 3)
        if name.startswith("textlabel"):
            rows[name]["times"] = {p: round(seconds[p] / seconds[name], 2) for p in PEERS if p in seconds}
        print(name, {key: value for key, value in rows[name].items() if key != "seconds"})
    return {"peak_gflop_per_second": peak, "contenders": rows}


def main() -> None:
    import numpy as np
    from _bench import arguments, write

    from textlabel.labeler import DEFAULT_BACKBONE

    parser = arguments(__doc__ or "")
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    parser.add_argument("--peers", nargs="*", default=[], help="interpreters that have peers")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        texts = texts_of(chosen.data, chosen.texts + OTHERS)
        (folder / "texts.json").write_text(json.dumps([texts[: chosen.texts], texts[chosen.texts :][:100]]))
        bundle, trials = make_models(folder, chosen.backbone, texts[chosen.texts :])
        result = {"backbone": chosen.backbone, **theory(bundle, texts[: chosen.texts])}
        result["optimize"] = {t.backend: t.why or dict(t.fit.measured) for t in trials}
        del bundle
        contenders = start(folder, chosen.peers)
        rng, turns = np.random.default_rng(0), {name: [] for name in contenders}
        for number in range(chosen.rounds):
            for name in rng.permutation(list(contenders)):
                turns[name].append(contenders[name].turn())
            print(f"round {number + 1} of {chosen.rounds}", flush=True)
        for contender in contenders.values():
            contender.process.kill()
    write(chosen.out, "annotate_speed", {**result, "rounds": chosen.rounds, **told(turns, result["gflop"])})


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:  # a peer's interpreter may lack all that `main` imports
        worker(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
