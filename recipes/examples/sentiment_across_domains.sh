#!/usr/bin/env bash
# Labels of films, texts about products. How far apart are they, does adapting help, what is better?
source "$(dirname "$0")/start.sh"

# 0: alike, 2: every text tells which of the two it is from
textlabel gap films.csv corpus.csv --backbone "$backbone"

# films alone, and films with the texts of the products, which have no labels
textlabel fit films.csv --recipe auto --budget 0 --backbone "$backbone" --out films
textlabel fit films.csv --recipe auto --budget 0 --unlabeled corpus.csv --backbone "$backbone" --out adapted
for model in films adapted; do
  textlabel annotate corpus.csv --model $model --out labeled-$model
  textlabel evaluate labeled-$model --gold gold.csv
done

# thirty labels of products say more than any text: the ways side by side, with intervals
textlabel transfer films.csv --unlabeled corpus.csv --gold few.csv --recipes auto --backbone "$backbone" --json \
  > transfer.json

# all of it on one page
textlabel report labeled-adapted --gold gold.csv --model adapted --source films.csv --transfer transfer.json
