"""What runs the body of a classifier: one file, one backend.

A module has ``NAME``; ``BATCH_INVARIANT``, whether a text's features are the same whatever texts share its
batch, but for rounding, without which "auto" never takes it; ``lacks()``, what must be there for it to run
here, "" if nothing is missing; and a class ``Backend(classifier, folder)`` with

- ``budget``, padded tokens of a forward pass, and ``multiple``, to which lengths are rounded up;
- ``features(batches)``: of each batch of ids and mask, both (b, t) int64, the features (b, d) float32, in
  order.

``folder`` holds what `prepare` wrote: a backend that must be made ready has ``prepare(classifier, texts,
folder)``, which writes files that belong to these weights, calibrated on some of the user's own texts, and
may have ``lacks_to_prepare()``, what must be there for that beside what runs it. The head is not the
backend's business: it is one product of float32 matrices whatever ran the body.
"""
