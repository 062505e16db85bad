#!/usr/bin/env bash
# What neurons do: the studies of docs/causes.md, one function each.
#
#   NISSL=target/release/nissl MODELS=... DATA=... OUT=... examples/studies/causes.sh [STUDY...]
#
# MODELS holds textgenrnn-base, textgenrnn-hacker_news, gpt2-s1, gpt2-s2, gpt2-s3, minilm, mpnet, SmolLM2.gguf and
# bert-masked; DATA holds text.txt (plain text), agreement/nounpp.txt, pararel (a folder), professions.json.
# RUN may name a command that runs another, such as nice.
set -euo pipefail
NISSL=${NISSL:-nissl} MODELS=${MODELS:-models} DATA=${DATA:-data} OUT=${OUT:-studies-out} RUN=${RUN:-env}
mkdir -p "$OUT"

record() { # model, store, sentences, sites, text
    [ -e "$OUT/$2/extract.json" ] ||
        $RUN "$NISSL" extract "$MODELS/$1" "${5:-$DATA/text.txt}" --sites "$4" --limit "$3" --out "$OUT/$2" -q
}

# Unit i of a model against unit i of its fine-tuning.
finetuning() {
    record textgenrnn-base rnn-base 400 lstm_h
    record textgenrnn-hacker_news rnn-news 400 lstm_h
    $RUN "$NISSL" compare "$OUT/rnn-base" "$OUT/rnn-news" --top 256 -q --json >"$OUT/finetuning.json"
}

# Neurons that three seeds share, by layer.
universal() {
    for seed in 1 2 3; do record gpt2-s$seed seed-$seed 1500 mlp; done
    $RUN "$NISSL" compare "$OUT/seed-1" "$OUT/seed-2" "$OUT/seed-3" --sites mlp_post -q --json >"$OUT/universal.json"
}

# Two architectures over the same words: neurons and layers as a whole.
architectures() {
    record minilm minilm 300 resid_post
    record mpnet mpnet 300 resid_post
    $RUN "$NISSL" compare "$OUT/minilm" "$OUT/mpnet" --baseline none -q --json >"$OUT/architectures.json"
}

# Units whose ablation costs most of the agreement of subject and verb, against random ones.
agreement() {
    for model in ${AGREEMENT:-SmolLM2.gguf}; do
        [ -e "$OUT/agreement-$model" ] || $RUN "$NISSL" attribute "$MODELS/$model" "$DATA/agreement/nounpp.txt" --each 8 --set metric=difference \
            --out "$OUT/agreement-$model" --method integrated-gradients -q >/dev/null
        for concept in singular_plural plural_singular; do
            $RUN "$NISSL" ablate "$MODELS/$model" "$DATA/agreement/nounpp.txt" --each ${N:-15} --value mean --top 10,50 \
                --ranking "$OUT/agreement-$model/integrated-gradients.parquet" --concept $concept --random ${SETS:-20} \
                -q --json >"$OUT/agreement-$model-$concept.json"
        done
    done
}

# Knowledge neurons of a relation: put out and doubled, on its own facts and on another's.
facts() { # each model with the relation P36 (capitals)
    for model in ${FACTS:-SmolLM2.gguf bert-masked}; do
        $RUN "$NISSL" attribute "$MODELS/$model" "$DATA/pararel" --only P36 --concepts ${EACH:-4} \
            --method knowledge-neurons --set steps=${STEPS:-5} --out "$OUT/facts-$model" -q >/dev/null
        for how in "--value zero" "--value scale --factor 2"; do
            for only in P36 P103; do
                $RUN "$NISSL" ablate "$MODELS/$model" "$DATA/pararel" --only $only --concepts ${EACH:-4} --top 5 --random 20 $how \
                    --ranking "$OUT/facts-$model/knowledge-neurons.parquet" -q --json \
                    >"$OUT/facts-$model-$only-${how//[^a-z]/}.json"
            done
        done
    done
}

# Gender: the share of the indirect effect that the best neurons carry.
gender() {
    $RUN "$NISSL" mediate "$MODELS/SmolLM2.gguf" "$DATA/professions.json" --each 1 --concepts 40 -q --json \
        >"$OUT/gender.json"
}

for study in "${@:-finetuning universal architectures gender agreement facts}"; do
    for one in $study; do "$one"; done
done
