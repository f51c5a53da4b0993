#!/usr/bin/env bash
# Which rows to ask: the loop proposes those that teach the model most, people answer, the head is fitted again
# in a moment, and it proposes on. Here the answers are known, so nobody has to wait for people.
source "$(dirname "$0")/start.sh"

# before anybody labels anything: what would each strategy have brought on a corpus like it?
textlabel simulate products.csv --strategies random margin typical_then_margin --budget 40 --batch 20 --seeds 2 \
  --backbone "$backbone"

# begin: which rows may be asked, which classes there are, and how many answers there may be
textlabel loop start corpus.csv --classes negative,positive --backbone "$backbone" --budget 60 --out loop

# with people: `textlabel review loop` asks round after round on a page. As sheets the same goes by hand:
for round in 1 2 3; do
  textlabel loop propose loop --count 20
  python "$here/answers.py" "loop/round-$round.csv" gold.csv
  textlabel loop import loop "loop/round-$round.csv" --reviewer Ann
done

# is it time to stop? kappa: labels have stopped changing; certificate: the model is sure enough; budget: spent
textlabel loop status loop

# sixty labeled rows, and a model that also reads the rest of the corpus
textlabel loop export loop --out labeled.csv
textlabel fit labeled.csv --backbone "$backbone" --recipe auto --unlabeled corpus.csv --out model
textlabel annotate corpus.csv --model model --out labeled
textlabel evaluate labeled --gold gold.csv
