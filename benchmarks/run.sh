#!/usr/bin/env bash
# ./dev bench [NAME...]: measurements, each printed with its command line. Nothing here decides: tests do.
#   micro        preprocess, nms, track, sqlite, batcher (Google Benchmark; each beside its peer)
#   batcher      a simulated accelerator: gain over single calls, latency, cost a request; BENCH_ARGS=SECONDS
#   efficiency   CPU of whole runs against decoding plus bare inference
#   mend         a file with weights as graph inputs, before and after `models add`
#   peers        whole runs beside the Python loop of benchmarks/peers/ (installs it in build/peers)
#   fusion_peer  weighted boxes fusion beside the Python package ensemble_boxes
#   serve_peers  `sightline serve` beside Python servers, JPEG in and faces out (installs them in build/peers_serve)
#   serve_tensors  tensors in and out: beside MLServer, and what is added to bare inference
#   serve_overload, serve_abuse  more requests than can be answered; idle connections and slow senders
#   faults       how soon cameras are back after cuts of several kinds; BENCH_ARGS="--cuts 20" for less
#   load         200 cameras, overload, memory; BENCH_ARGS="cameras --seconds 20" for a part of it
# MODELS=FOLDER with the ONNX files (default: $SIGHTLINE_TEST_DATA/models).
set -euo pipefail
cd "$(dirname "$0")/.."
models=${MODELS:-${SIGHTLINE_TEST_DATA:+$SIGHTLINE_TEST_DATA/models}}

shown() { echo "\$ $*"; "$@"; }

micro() {
  local program
  for program in build/bin/*_bench; do
    [ -x "$program" ] && shown "$program" ${BENCH_ARGS:-}
  done
}

need_models() {
  [ -n "$models" ] && [ -d "$models" ] && return 0
  echo "bench: $1 needs real models: MODELS=FOLDER or SIGHTLINE_TEST_DATA=FOLDER with models/" >&2
  return 1
}

efficiency() { need_models efficiency && shown python3 benchmarks/efficiency.py --models "$models"; }

mend() { need_models mend && shown python3 benchmarks/mend.py --models "$models"; }

install_peers() {
  build/peers/bin/pip freeze 2>/dev/null | grep -q ensemble-boxes && return 0
  python3 -m venv build/peers && build/peers/bin/pip install --quiet -r benchmarks/peers/requirements.txt
}

fusion_peer() { install_peers && shown build/peers/bin/python benchmarks/peers/fusion.py; }

peers() {
  need_models peers || return 1
  install_peers
  shown build/peers/bin/python benchmarks/peers/compare.py --models "$models"
}

serving_peers() { python3 benchmarks/peers/serve_compare.py install; }

serve_peers() {
  need_models serve_peers && serving_peers || return 1
  shown python3 benchmarks/peers/serve_compare.py faces --data "$models/.." ${BENCH_ARGS:-}
}

serve_tensors() {
  need_models serve_tensors && serving_peers || return 1
  shown python3 benchmarks/peers/serve_compare.py tensors --data "$models/.." ${BENCH_ARGS:-}
}

serve_overload() {
  need_models serve_overload && serving_peers || return 1
  shown python3 benchmarks/serve_overload.py --faces "$models/.." --max-wait 15ms ${BENCH_ARGS:-}
}

serve_abuse() {
  need_models serve_abuse || return 1
  shown python3 benchmarks/serve_abuse.py --model "$models/fastestdet_352.onnx" --tensor input.1=1x3x352x352 ${BENCH_ARGS:-}
}

faults() { shown python3 benchmarks/faults.py ${BENCH_ARGS:-}; }

load() { shown python3 benchmarks/load.py ${BENCH_ARGS:-}; }

[ $# -gt 0 ] || set -- micro efficiency mend peers
for name in "$@"; do
  case $name in
    micro|efficiency|mend|peers|fusion_peer|serve_peers|serve_tensors|serve_overload|serve_abuse|faults|load) echo "== $name"; "$name" ;;
    *) if [ -x "build/bin/${name}_bench" ]; then shown "build/bin/${name}_bench" ${BENCH_ARGS:-}
       else echo "bench: no benchmark \"$name\"" >&2; exit 2; fi ;;
  esac
done
