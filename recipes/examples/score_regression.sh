#!/usr/bin/env bash
# Scores instead of classes: a ridge head, and an interval for each row that holds the score in 9 of 10 rows.
source "$(dirname "$0")/start.sh"

textlabel fit scores.csv --recipe regression --label-column score --backbone "$backbone" --out model
textlabel annotate corpus.csv --model model --out labeled
textlabel evaluate labeled --gold gold-scores.csv --label-column score
