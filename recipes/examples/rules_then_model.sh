#!/usr/bin/env bash
# Rules first: what a person knows of the words is written down once, thirty labels tell which rules are right,
# and a model learns from both and reads what no rule covers.
source "$(dirname "$0")/start.sh"

# keywords, a pattern, and a word list with weights; Python functions may be rules, too
cat > rules.toml << 'END'
classes = ["negative", "positive"]

[[rule]]
name = "praise"
label = "positive"
keywords = ["great", "excellent", "love", "perfect", "best", "good", "easy", "nice"]

[[rule]]
name = "blame"
label = "negative"
keywords = ["bad", "poor", "terrible", "waste", "broke", "awful", "worst", "return", "disappointed"]

[[rule]]
name = "not so"
label = "negative"
regex = "\\b(not|never|n't) (work|good|worth|buy|recommend)"
END

# what each rule covers, where it contradicts others, and how often the thirty labels prove it right
textlabel rules check rules.toml --on corpus.csv --gold few.csv

# by rules alone: a corpus that can be audited and certified like any other
textlabel rules label rules.toml --on corpus.csv --gold few.csv --out by-rules
textlabel evaluate by-rules --gold gold.csv

# with the names of the classes and a head tuned on the thirty labels, as one calibrated probability
textlabel rules fuse rules.toml --on corpus.csv --gold few.csv --backbone "$backbone" --out fused
textlabel evaluate fused --gold gold.csv

# or as a model, for texts that are still to come
textlabel rules fit rules.toml --on corpus.csv --gold few.csv --backbone "$backbone" --out model
textlabel annotate corpus.csv --model model --out labeled
textlabel evaluate labeled --gold gold.csv

# why one of them has its label: words, and the rules that fired
head -3 corpus.csv > some.csv
textlabel why some.csv --model model --rules rules.toml --out why.jsonl
