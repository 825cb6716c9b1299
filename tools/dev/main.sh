# ./dev VERB: see usage() below. Runs in the repository's root.
set -euo pipefail
. tools/dev/setup.sh

usage() {
  cat <<'TEXT'
usage: ./dev VERB [ARGUMENTS]
  setup    install what is missing (Debian packages, ONNX Runtime)
  build    setup, then a release build; the program is build/bin/sightline
TEXT
}

build() {
  local preset=${1:-release} dir=build
  [ "$preset" = release ] || dir=build-$preset
  [ -f "$dir/build.ninja" ] || cmake --preset "$preset" >/dev/null
  cmake --build "$dir"
}

verb=${1:-help}
[ $# = 0 ] || shift
case $verb in
  setup) setup ;;
  build) setup; build "$@" ;;
  help|-h|--help) usage ;;
  *) echo "./dev: no verb \"$verb\"" >&2; usage >&2; exit 2 ;;
esac
