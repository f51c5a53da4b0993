"""How fast the engine labels on a GPU, beside other tools on the same texts in the same minutes.

    python recipes/benchmarks/annotate_gpu.py [--rounds 5] [--texts 20000] [--shapes bert-base minilm]

Speed does not depend on what weights are, so they are random, and so are the words: it runs on a machine
that has PyTorch and transformers and can fetch nothing. Texts are of 128 tokens, of 512, or of mixed
lengths (10 to 512, log-normal, median 90). Contenders take turns in shuffled rounds: the engine from tokens
and from texts, transformers' pipeline in float32 and in bfloat16 with sorted texts, and sentence-
transformers in bfloat16 where it is installed. The share of the peak holds the arithmetic of all layers
against the best of three large bfloat16 products measured in every round. Agreement is that of labels with
transformers' own body on the CPU.

Without a GPU it runs the same code on the CPU with few texts, which says nothing about speed: the result is
not written then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from _bench import arguments, write

from textlabel.engine.predict import Featurizer, head_logits
from textlabel.models.backbone import encode, load_backbone
from textlabel.models.classifier import Classifier
from textlabel.types import LabelSchema

SHAPES = {
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12},
}
LENGTHS = ("128", "512", "mixed")
WORDS = 30_000
LONGEST = 512
#: rows whose labels are compared with the CPU's
COMPARED = 200

Work = Callable[[list[str]], Any]


def write_model(shape: str, folder: Path) -> None:
    """Write random weights and a tokenizer to which every word is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: i for i, token in enumerate([*special, *(f"w{i}" for i in range(WORDS))])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(
        zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=LONGEST, **names)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    facts = SHAPES[shape]
    config = BertConfig(vocab_size=len(vocabulary), intermediate_size=4 * facts["hidden_size"], **facts)
    BertForSequenceClassification(config).save_pretrained(folder)


def make_texts(kind: str, count: int, rng: np.random.Generator) -> list[str]:
    """Return texts of ``kind`` tokens, with the two of the frame."""
    if kind == "mixed":
        lengths = np.clip(np.exp(rng.normal(np.log(90), 0.8, count)), 10, LONGEST).astype(int)
    else:
        lengths = np.full(count, int(kind))
    return [" ".join(f"w{i}" for i in rng.integers(0, WORDS, length - 2)) for length in lengths]


def pipeline(folder: Path, device: str, dtype: torch.dtype, order: bool) -> Work:
    from transformers import pipeline as make

    runs = make("text-classification", model=str(folder), device=device, dtype=dtype)
    options = {"batch_size": 32, "truncation": True, "max_length": LONGEST}
    return lambda texts: runs(sorted(texts, key=len) if order else texts, **options)


def sentence_transformers(folder: Path, device: str) -> Work:
    from sentence_transformers import SentenceTransformer, models

    body = models.Transformer(str(folder), max_seq_length=LONGEST, model_args={"dtype": torch.bfloat16})
    model = SentenceTransformer(modules=[body, models.Pooling(body.get_word_embedding_dimension())])
    model.to(device)
    return lambda texts: model.encode(texts, batch_size=128, show_progress_bar=False)


def contenders(folder: Path, classifier: Classifier, device: str) -> dict[str, Work]:
    fast = Featurizer(classifier, backend_for(device))
    full = Featurizer(classifier, "torch")
    found: dict[str, Work] = {
        "textlabel, from texts": fast.features,
        "textlabel float32, from texts": full.features,
        "transformers pipeline float32, batch 32": pipeline(folder, device, torch.float32, order=False),
        "transformers pipeline bfloat16, batch 32, sorted": pipeline(
            folder, device, torch.bfloat16, order=True
        ),
    }
    try:
        found["sentence-transformers bfloat16"] = sentence_transformers(folder, device)
    except ImportError as error:
        print(f"skipped sentence-transformers: {error}")
    return found


def backend_for(device: str) -> str:
    return "torch_bf16" if device == "cuda" else "torch"


def peak(device: str) -> float:
    """Return TFLOP/s of the best of three large products in bfloat16."""
    size, best = (8192, 0.0) if device == "cuda" else (512, 0.0)
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    for _ in range(3):
        _wait(device)
        start = time.perf_counter()
        for _ in range(5):
            a @ b
        _wait(device)
        best = max(best, 5 * 2 * size**3 / (time.perf_counter() - start) / 1e12)
    return best


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timed(work: Callable[[], Any], device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def arithmetic(shape: str, lengths: np.ndarray) -> float:
    """Return the TFLOP of all layers on texts of these lengths."""
    width, layers = SHAPES[shape]["hidden_size"], SHAPES[shape]["num_hidden_layers"]
    return float((layers * (24 * width**2 * lengths + 4 * width * lengths**2)).sum()) / 1e12


def measure(shape: str, kind: str, count: int, rounds: int, device: str) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as place:
        folder = Path(place)
        write_model(shape, folder)
        backbone = load_backbone(folder, pooling="cls", max_length=LONGEST)
        classifier = Classifier(backbone, LabelSchema("single", ("a", "b")))
        torch.manual_seed(1)
        torch.nn.init.normal_(classifier.head.weight)
        texts, warm = make_texts(kind, count, rng), make_texts(kind, max(count // 20, 40), rng)
        some = texts[:COMPARED]
        expected = on_cpu(classifier, some)
        works = contenders(folder, classifier, device)
        fast = Featurizer(classifier, backend_for(device))
        tokens = fast.read(texts)
        timers: dict[str, Callable[[], Any]] = {
            name: (lambda work=work: work(texts)) for name, work in works.items()
        }
        timers["textlabel, from tokens"] = lambda: fast.of_tokens(tokens)
        for work in works.values():
            work(warm)
        fast.of_tokens(tokens[: len(warm)])
        seconds: dict[str, list[float]] = {name: [] for name in timers}
        peaks = []
        for _ in range(rounds):
            peaks.append(peak(device))
            for name in rng.permutation(list(timers)):
                seconds[name].append(timed(timers[name], device))
        labels = head_logits(classifier, fast.features(some)).argmax(axis=1)
    return told(shape, np.array([len(row) for row in tokens]), seconds, peaks) | {
        "agreement_with_cpu_float32": float(np.mean(labels == expected.argmax(axis=1)))
    }


def on_cpu(classifier: Classifier, texts: list[str]) -> np.ndarray:
    """Return the logits (n, 2) of transformers' own body in float32; called before it moves to the GPU."""
    tokens = (torch.tensor(encode(classifier.tokenizer, classifier.info, [text])) for text in texts)
    with torch.inference_mode():
        return np.concatenate([classifier.eval()(ids, torch.ones_like(ids)).logits.numpy() for ids in tokens])


def told(
    shape: str, lengths: np.ndarray, seconds: dict[str, list[float]], peaks: list[float]
) -> dict[str, Any]:
    """Return medians, rates, shares of the peak, and ratios to the peers."""
    tflop, best = arithmetic(shape, lengths), float(np.median(peaks))
    median = {name: float(np.median(found)) for name, found in seconds.items()}
    peers = [name for name in median if not name.startswith("textlabel")]
    rows = {
        name: {
            "median_seconds": round(median[name], 4),
            "seconds": [round(s, 4) for s in seconds[name]],
            "tokens_per_second": round(lengths.sum() / median[name]),
            "share_of_peak": round(tflop / median[name] / best, 3),
            **({} if name in peers else {"times": {p: round(median[p] / median[name], 2) for p in peers}}),
        }
        for name in sorted(median, key=lambda name: median[name])
    }
    for name, row in rows.items():
        print(shape, name, {key: value for key, value in row.items() if key != "seconds"})
    return {
        "texts": len(lengths),
        "tokens": int(lengths.sum()),
        "tflop": round(tflop, 1),
        "peak_tflop_per_second": round(best, 1),
        "contenders": rows,
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--lengths", nargs="+", choices=LENGTHS, default=LENGTHS)
    chosen = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        print("no GPU here: 60 texts, to see that it runs")
        chosen.texts = min(chosen.texts, 60)
    results = {}
    for shape in chosen.shapes:
        for kind in chosen.lengths:
            count = chosen.texts // 4 if kind == "512" else chosen.texts
            results[f"{shape}, {kind}"] = measure(shape, kind, count, chosen.rounds, device)
    if device == "cuda":
        name = torch.cuda.get_device_name()
        write(chosen.out, "annotate_gpu", {"gpu": name, "rounds": chosen.rounds, "results": results})


if __name__ == "__main__":
    main()
