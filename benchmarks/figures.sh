#!/usr/bin/env bash
# The figures of docs/results.md: the embedded model and BM25 on TopiOCQA, INSCIT and MTRAG, and
# all-MiniLM-L6-v2 beside them. Finished parts are kept, so the same command goes on.
#
# usage: benchmarks/figures.sh DATA OUT     DATA holds topiocqa/, inscit/, mtrag/, wiki_corpus/ in
#                                           their native files (docs/data-formats.md)
#        SKIP_MINILM=1 leaves out all-MiniLM-L6-v2, which takes about two hours on 2 CPU cores.
set -euo pipefail
data=${1:?usage: benchmarks/figures.sh DATA OUT} out=${2:?usage: benchmarks/figures.sh DATA OUT}
here=$(cd "$(dirname "$0")" && pwd)
uniconv=${UNICONV:-$here/../.venv/bin/uniconv}
python=$(dirname "$uniconv")/python
wiki=$data/wiki_corpus/corpus.jsonl

convert() { [ -f "$out/$1/dataset.json" ] || "$uniconv" data convert "$1" "$2" --out "$out/$1" "${@:3}"; }
convert topiocqa "$data/topiocqa" --corpus "$wiki"
convert inscit "$data/inscit" --corpus "$wiki"
convert mtrag-clapnq "$data/mtrag"
convert mtrag-cloud "$data/mtrag"

"$uniconv" index "$wiki" --out "$out/index-wiki" --exact
for domain in clapnq cloud; do
    "$uniconv" index "$out/mtrag-$domain/corpus.jsonl" --out "$out/index-$domain" --exact
done

train=(--train "$out/topiocqa/train.jsonl") # gold passages are seen in training or unseen
measure() { # NAME CONVERSATIONS INDEX [option …]
    local result=$out/results/$1
    [ -f "$result/result.json" ] ||
        "$uniconv" evaluate retrieval --conversations "$2" --index "$3" --out "$result" "${@:4}"
}
for retriever in dense hybrid; do
    measure "topiocqa-$retriever" "$out/topiocqa/dev.jsonl" "$out/index-wiki" "${train[@]}" \
        --retriever $retriever
    measure "inscit-$retriever" "$out/inscit/dev.jsonl" "$out/index-wiki" --retriever $retriever
    for domain in clapnq cloud; do
        measure "$domain-$retriever" "$out/mtrag-$domain/dev.jsonl" "$out/index-$domain" \
            --retriever $retriever
    done
done
for query in last history; do
    bm25=(--retriever bm25 --query $query)
    measure "topiocqa-bm25-$query" "$out/topiocqa/dev.jsonl" "$out/index-wiki" "${train[@]}" "${bm25[@]}"
    measure "inscit-bm25-$query" "$out/inscit/dev.jsonl" "$out/index-wiki" "${bm25[@]}"
    for domain in clapnq cloud; do
        measure "$domain-bm25-$query" "$out/mtrag-$domain/dev.jsonl" "$out/index-$domain" "${bm25[@]}"
    done
done
for query in questions rewrite; do
    for domain in clapnq cloud; do
        measure "$domain-bm25-$query" "$out/mtrag-$domain/dev.jsonl" "$out/index-$domain" \
            --retriever bm25 --query $query
    done
done

"$uniconv" evaluate response --conversations "$out/inscit/dev.jsonl" --index "$out/index-wiki" \
    --references "$out/inscit/dev.references.jsonl" --judged --out "$out/results/inscit-response"

[ -n "${SKIP_MINILM:-}" ] && exit
minilm() { # NAME CORPUS INDEX CONVERSATIONS [option …]
    local result=$out/results/minilm-$1
    [ -f "$result/result.json" ] ||
        "$python" "$here/minilm.py" "$2" "$out/minilm-$3" "$4" "$result" "${@:5}"
}
minilm topiocqa "$wiki" index-wiki "$out/topiocqa/dev.jsonl" "${train[@]}"
minilm inscit "$wiki" index-wiki "$out/inscit/dev.jsonl"
for domain in clapnq cloud; do
    minilm $domain "$out/mtrag-$domain/corpus.jsonl" index-$domain "$out/mtrag-$domain/dev.jsonl"
done
