#!/usr/bin/env bash
# Which neurons tell a concept, which matter to the model, which methods say the same twice: docs/encoded.md.
#
#   NISSL=target/release/nissl MODELS=... DATA=... OUT=... examples/studies/encoded.sh [MODEL...]
#
# MODELS holds minilm, mpnet, SmolLM2.gguf and demo; DATA holds ewt (English Web Treebank: en_ewt-ud-train.conllu,
# en_ewt-ud-test.conllu) and sst2 (train_binary_sent.csv, test_binary_sent.csv). TASKS names some of upos, number, tense,
# sst2. RUN may name a command that runs another, such as nice. Python 3 makes the prompts of sst2.
set -euo pipefail
NISSL=${NISSL:-nissl} MODELS=${MODELS:-models} DATA=${DATA:-data} OUT=${OUT:-studies-out} RUN=${RUN:-env}
SENTENCES=400
METHODS=probeless,mean-select,average-precision,iou,skill-neurons,sparse-probe,gaussian-probe,linear-probe,lca,latent-probe
mkdir -p "$OUT"

# Three samples of a training text that share no sentence, and one of the test text.
samples() {
    [ -e "$OUT/sst2-test.csv" ] && return
    awk -v n=$SENTENCES -v out="$OUT/ewt" 'BEGIN { f = 1 } { print > (out "-" f ".conllu") }
        /^$/ { if (++c % n == 0 && ++f > 3) exit }' "$DATA/ewt/en_ewt-ud-train.conllu"
    awk -v n=$SENTENCES -v out="$OUT/ewt" '{ print > (out "-test.conllu") } /^$/ { if (++c == n) exit }' \
        "$DATA/ewt/en_ewt-ud-test.conllu"
    for i in 1 2 3; do
        awk -v i=$i -v n=$SENTENCES 'NR == 1 || (NR > 1 + (i - 1) * n && NR <= 1 + i * n)' \
            "$DATA/sst2/train_binary_sent.csv" >"$OUT/sst2-$i.csv"
    done
    head -n $((SENTENCES + 1)) "$DATA/sst2/test_binary_sent.csv" >"$OUT/sst2-test.csv"
}

# Words of the first sample as prompts: what stands before each, and its label of this task as the concept.
prompts() { # task
    if [ "$1" = sst2 ]; then
        python3 -c 'import csv, json, sys
for row in csv.DictReader(open(sys.argv[1])):
    words = row["sentence"].split()
    for place in range(3, len(words), 4):
        print(json.dumps({"text": " ".join(words[:place]) + " [MASK]", "target": words[place], "concept": row["label"]}))
' "$OUT/sst2-1.csv"
        return
    fi
    awk -F '\t' -v task="$1" '
        function concept() {
            if (task == "upos") return $4 ~ /^(NOUN|VERB|ADJ|ADP|PRON|DET)$/ ? $4 : ""
            name = task == "number" ? "Number" : "Tense"
            return match("|" $6 "|", "[|]" name "=[A-Za-z]+") ? substr($6, RSTART + length(name) + 1, RLENGTH - length(name) - 2) : ""
        }
        /^$/ { text = "" }
        $1 ~ /^[0-9]+$/ {
            if (concept() != "" && $1 > 3 && $2 !~ /["\\]/ && text !~ /["\\]/)
                printf "{\"text\": \"%s[MASK]\", \"target\": \"%s\", \"concept\": \"%s\"}\n", text, $2, concept()
            text = text $2 ($10 ~ /SpaceAfter=No/ ? "" : " ")
        }' "$OUT/ewt-1.conllu"
}

# The layers of a decoder whose MLP neurons are looked at.
layers() {
    case $1 in
    SmolLM2.gguf) echo 5,15,25 ;;
    demo) echo 0,1,2,3 ;;
    esac
}

# The sites of a model.
sites() {
    case $1 in
    minilm) echo resid_post ;;
    mpnet) echo 3.resid_post,7.resid_post,11.resid_post ;;
    SmolLM2.gguf) echo 5.mlp_post,15.mlp_post,25.mlp_post ;;
    demo) echo mlp_post ;;
    esac
}

# The concepts of a task.
concepts() {
    case $1 in
    upos) echo 'upos: NOUN, VERB, ADJ, ADP, PRON, DET' ;;
    number) echo 'Number: Sing, Plur' ;;
    tense) echo 'Tense: Past, Pres' ;;
    sst2) echo 'label: 0, 1' ;;
    esac
}

# Rankings of three samples; the first judged on other text; all three of a method against each other.
study() { # model, task
    local text=ewt suffix=conllu by
    by=$(concepts "$2")
    [ "$2" = sst2 ] && text=sst2 suffix=csv
    local dir="$OUT/$1/$2"
    mkdir -p "$dir"
    for part in 1 2 3 test; do
        local store="$OUT/$1/$text-$part"
        [ -e "$store/extract.json" ] ||
            $RUN "$NISSL" extract "$MODELS/$1" "$OUT/$text-$part.$suffix" --sites "$(sites "$1")" --out "$store" -q >/dev/null
        [ $part = test ] || [ -e "$dir/rankings-$part/rank.json" ] ||
            $RUN "$NISSL" rank "$store" --by "$by" --method $METHODS --permutations 0 --out "$dir/rankings-$part" -q >/dev/null
    done
    local test="$OUT/$1/$text-test" inside=()
    local rankings=()
    for method in ${METHODS//,/ }; do rankings+=("$dir/rankings-1/$method.parquet"); done
    # Models that predict words are judged inside too, beside the neurons that gradients say the predictions depend on.
    case $1 in
    SmolLM2.gguf) inside=(--words 20 --remove 10,50 --random-sets 3) ;;
    demo) inside=(--words 40 --remove 10,50,250) ;;
    esac
    if [ ${#inside[@]} -gt 0 ]; then
        inside+=(--model "$MODELS/$1" --value mean)
        prompts "$2" >"$dir/prompts.jsonl"
        $RUN "$NISSL" attribute "$MODELS/$1" "$dir/prompts.jsonl" --each 40 --method gradient-activation \
            --set "layers=[$(layers "$1")]" --out "$dir/attributed" -q >/dev/null
        rankings+=("$dir/attributed/gradient-activation.parquet")
    fi
    $RUN "$NISSL" evaluate "$test" "${rankings[@]}" --by "$by" "${inside[@]}" -q --json >"$dir/judged.json"
    $RUN "$NISSL" evaluate "$test" "${rankings[@]}" --by "$by" --disjoint-words -q --json >"$dir/disjoint.json"
    for method in ${METHODS//,/ }; do
        $RUN "$NISSL" evaluate "$test" "$dir"/rankings-[123]/$method.parquet --by "$by" --k 10,50 --random-sets 0 \
            --no-control --draws 0 -q --json >"$dir/again-$method.json"
    done
}

samples
for model in ${@:-minilm mpnet demo SmolLM2.gguf}; do
    for task in ${TASKS:-upos number tense sst2}; do study "$model" "$task"; done
done
