#!/usr/bin/env bash
# Four classes below two nodes. Where the model is not sure of a class, --back-off tells the node above it.
source "$(dirname "$0")/start.sh"

textlabel fit tree.csv --label-tree tree.json --backbone "$backbone" --out model
textlabel annotate corpus.csv --model model --back-off 0.9 --out labeled
textlabel evaluate labeled --gold gold-tree.csv
