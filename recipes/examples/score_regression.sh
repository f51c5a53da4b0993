#!/usr/bin/env bash
# Scores instead of classes: how good a product is, as a number. A score has no confidence. It has an interval
# (`prediction_set`) instead, which holds the truth in 9 of 10 rows like those that were learned from.
source "$(dirname "$0")/start.sh"

# a ridge head; the intervals are made from rows that it did not learn from
textlabel fit scores.csv --recipe regression --label-column score --backbone "$backbone" --out model
textlabel annotate corpus.csv --model model --out labeled

# how far off, and how well in order
textlabel evaluate labeled --gold gold-scores.csv --label-column score

# the same for a reader: truth against score, errors along the scale, how many intervals hold
textlabel report labeled --gold gold-scores.csv --label-column score
