#!/usr/bin/env bash
# The classes are about products, and the corpus holds films, too: 5 % of false alarms are allowed.
source "$(dirname "$0")/start.sh"

textlabel fit products.csv --backbone "$backbone" --out model
textlabel annotate mixed.csv --model model --out-of-scope-rate 0.05 --out labeled --format csv
python - <<'PYTHON'
import collections, csv
rows = list(csv.DictReader(open("labeled/annotations.csv")))
for section in ("product", "movie"):
    told = collections.Counter(row["decision"] for row in rows if row["section"] == section)
    print(section, {name: f"{count / sum(told.values()):.0%}" for name, count in told.items()})
PYTHON
