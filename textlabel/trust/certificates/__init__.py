"""Certificates: one file, one mode. What a mode promises is the docstring of its module.

A plugin module of kind ``certificate`` defines ``NAME``, ``SPENDS`` ("alpha" or "max_error": what a further
look has half of, see `price`), ``PROMISE`` (a sentence with ``{percent}``, ``{count}``, ``{level}``) and
``certify(audit, max_error, alpha)``, which returns an `Outcome`.

What every mode takes for granted: the labels and their order were fixed before the audit was drawn, the
audited rows are a uniform draw without replacement from the population, and "wrong" means what was
declared before the draw. Nothing is assumed about the model, its confidence, the order or the corpus.
Only the draw is random. Without that draw there is no promise.
"""
