"""What other tools make of a few labels; runs under an interpreter that has them, and knows nothing of ours.

    PYTHON _peers_few_labels.py PEER < job.json

The job holds ``backbone`` (a folder of transformers files), ``texts``, ``labels`` (class numbers), ``test``,
``names`` (of classes), ``seed`` and ``threads``. One JSON object comes out: labels of the test texts, and the
seconds from texts to a trained classifier, loading of the library and of the weights not counted.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from typing import Any

Job = dict[str, Any]


def tfidf(job: Job) -> tuple[list[int], float]:
    """TF-IDF of words and pairs, of character n-grams where a language puts no spaces, then regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    start = time.perf_counter()
    words = [TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)]
    words += [TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)]
    spaces = sum(t.count(" ") for t in job["texts"]) / max(sum(map(len, job["texts"])), 1)
    model = make_pipeline(words[spaces < 0.05], LogisticRegression(C=10, max_iter=1000))
    model.fit(job["texts"], job["labels"])
    seconds = time.perf_counter() - start
    return model.predict(job["test"]).tolist(), seconds


def sentence_transformers_lr(job: Job) -> tuple[list[int], float]:
    """Mean vectors of the frozen backbone and scikit-learn's logistic regression with its defaults."""
    from sklearn.linear_model import LogisticRegression

    body = sentence_transformer(job)
    start = time.perf_counter()
    model = LogisticRegression(max_iter=1000).fit(body.encode(job["texts"]), job["labels"])
    seconds = time.perf_counter() - start
    return model.predict(body.encode(job["test"])).tolist(), seconds


def setfit(job: Job, names: bool = False) -> tuple[list[int], float]:
    """SetFit as its paper runs it: 20 iterations of pairs, one epoch of 16, logistic regression on top."""
    from datasets import Dataset, concatenate_datasets
    from setfit import SetFitModel, Trainer, TrainingArguments, get_templated_dataset

    rows = Dataset.from_dict({"text": job["texts"], "label": job["labels"]})
    if names:
        readable = [name.replace("_", " ") for name in job["names"]]
        made = get_templated_dataset(
            candidate_labels=readable, sample_size=max(1, len(rows) // len(readable))
        )
        rows = concatenate_datasets([rows, made.cast(rows.features)])
    with tempfile.TemporaryDirectory() as folder:
        sentence_transformer(job).save(folder)
        model = SetFitModel.from_pretrained(folder)
        arguments = TrainingArguments(
            output_dir=folder,
            num_iterations=20,
            batch_size=16,
            num_epochs=1,
            seed=job["seed"],
            body_learning_rate=2e-5,
            report_to="none",
            save_strategy="no",
            show_progress_bar=False,
        )
        start = time.perf_counter()
        Trainer(model=model, args=arguments, train_dataset=rows).train()
        seconds = time.perf_counter() - start
        found = model.predict(job["test"], batch_size=32, show_progress_bar=False)
    return [int(label) for label in found], seconds


def setfit_names(job: Job) -> tuple[list[int], float]:
    """SetFit with as many made-up rows a class, "This sentence is NAME", as there are real ones."""
    return setfit(job, names=True)


def trainer_lora(job: Job) -> tuple[list[int], float]:
    """transformers' Trainer with peft's LoRA, defaults of both but for ten epochs at 5e-4."""
    import numpy as np
    from datasets import Dataset
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(job["backbone"])
    model = AutoModelForSequenceClassification.from_pretrained(job["backbone"], num_labels=len(job["names"]))
    model = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS))

    def tokenized(columns: Job) -> Dataset:
        rows = Dataset.from_dict(columns)
        return rows.map(lambda r: tokenizer(r["text"], truncation=True, max_length=256), batched=True)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=10,
            learning_rate=5e-4,
            seed=job["seed"],
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            per_device_eval_batch_size=32,
            logging_strategy="no",
            use_cpu=True,
        )
        start = time.perf_counter()
        trainer = Trainer(
            model=model,
            args=arguments,
            data_collator=DataCollatorWithPadding(tokenizer),
            train_dataset=tokenized({"text": job["texts"], "labels": job["labels"]}),
        )
        trainer.train()
        seconds = time.perf_counter() - start
        logits = trainer.predict(tokenized({"text": job["test"]})).predictions
    return np.argmax(logits, axis=1).tolist(), seconds


def model2vec(job: Job) -> tuple[list[int], float]:
    """model2vec's classifier on its own static vectors (which must be the backbone), with its defaults."""
    from model2vec import StaticModel
    from model2vec.train import StaticModelForClassification
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{job['backbone']}/tokenizer.json")
    [vectors] = load_file(f"{job['backbone']}/model.safetensors").values()
    body = StaticModel(vectors, tokenizer, normalize=True)
    start = time.perf_counter()
    model = StaticModelForClassification.from_static_model(model=body)
    model.fit(job["texts"], job["labels"], random_seed=job["seed"], device="cpu")
    seconds = time.perf_counter() - start
    return [int(label) for label in model.predict(job["test"])], seconds


def sentence_transformer(job: Job) -> Any:
    from sentence_transformers import SentenceTransformer, models

    body = models.Transformer(job["backbone"], max_seq_length=256)
    parts = [body, models.Pooling(body.get_word_embedding_dimension(), "mean"), models.Normalize()]
    return SentenceTransformer(modules=parts, device="cpu")


PEERS = {
    f.__name__: f for f in (tfidf, sentence_transformers_lr, setfit, setfit_names, trainer_lora, model2vec)
}


def main() -> None:
    job = json.load(sys.stdin)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(job["threads"])
    answer = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is not the answer
    labels, seconds = PEERS[sys.argv[1]](job)
    print(json.dumps({"labels": labels, "seconds": round(seconds, 3)}), file=answer)


if __name__ == "__main__":
    main()
