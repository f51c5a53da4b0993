#!/usr/bin/env bash
# A hierarchy of topics: film and product, and below each what is said of it. A coarse label that is right can be
# worth more than a fine one that is a guess.
source "$(dirname "$0")/start.sh"

# tree.json names the nodes: {"film": ["film praised", "film panned"], "product": [...]}
textlabel fit tree.csv --label-tree tree.json --backbone "$backbone" --out model

# `label` is always one of the four classes; `node` is the lowest node of which the model is 90 % sure
textlabel annotate corpus.csv --model model --back-off 0.9 --out labeled

# accuracy by depth, how many rows have a node, and how many of these nodes are right
textlabel evaluate labeled --gold gold-tree.csv
