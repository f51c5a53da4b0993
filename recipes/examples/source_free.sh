#!/usr/bin/env bash
# The labeled rows may not leave their place: only the model travels, and goes on with texts alone.
source "$(dirname "$0")/start.sh"

textlabel fit films.csv --backbone "$backbone" --out there --forget-rows
textlabel adapt there --unlabeled corpus.csv --recipe "${RECIPE:-tent}" --out here
for model in there here; do
  textlabel annotate corpus.csv --model $model --out labeled-$model
  textlabel evaluate labeled-$model --gold gold.csv
done
