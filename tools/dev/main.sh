# ./dev VERB: see usage() below. Runs in the repository's root.
set -euo pipefail
. tools/dev/setup.sh

usage() {
  cat <<'TEXT'
usage: ./dev VERB [ARGUMENTS]

  run      set up, build, and run the main job on a real clip: people in a street, counted.
           VIDEO=/path/to/own.mp4   another clip
           MODEL=NAME|FILE.onnx     another detector (default: people)
           OUT=FOLDER               where the results go (default: out/<clip>)
           further arguments go to `sightline run`
  test     set up, build, and pass the unit, scenario, golden, fault and README tests;
           ends by listing what was skipped and why.
           ./dev test GROUP...      also or instead: asan tsan clang fuzz slow
           SIGHTLINE_TEST_DATA=FOLDER   real models and media for the tests that want them

  setup    install what is missing (Debian packages, ONNX Runtime, OpenVINO);
           ./dev setup torchscript also installs what TorchScript files need (libtorch)
  build    set up, then build; ./dev build [release|debug|asan|tsan|clang]; the program is
           build/bin/sightline
  unit     build and run the unit tests alone; ./dev unit [REGEX]
  bench    build and measure: ./dev bench [micro|efficiency|mend|peers|faults|load|
           preprocess|nms|track|sqlite|heads]
  fmt      format the C++ sources with clang-format
  check    layers, documents, formatting, clang-tidy on changed files
  fuzz     build the fuzz targets and run each for a while: ./dev fuzz [SECONDS [TARGET...]]
TEXT
}

# One build folder per preset; release is plain build/.
build_folder() { if [ "$1" = release ]; then echo build; else echo "build-$1"; fi; }

build() {
  local preset=${1:-release} dir
  dir=$(build_folder "$preset"); shift || true
  case $preset in clang|fuzz) setup_apt "${CLANG_PACKAGES[@]}" || return 1 ;; esac
  # A changed preset counts too; without one, CMake looks after itself.
  [ "$dir/build.ninja" -nt CMakePresets.json ] || cmake --preset "$preset" >/dev/null || return 1
  # Quiet when there is nothing to do, so that a second ./dev run starts at once.
  cmake --build "$dir" ${1:+--target "$@"} > "$dir/build.log" 2>&1 ||
    { tail -60 "$dir/build.log" >&2; echo "./dev: the $preset build failed; all of it: $dir/build.log" >&2; return 1; }
}

default_clip() {
  local clip=/usr/share/doc/opencv-doc/examples/data/vtest.avi
  # Minimal images leave /usr/share/doc out when they install packages.
  [ -f "$clip" ] || clip=$(setup_package_file opencv-doc usr/share/doc/opencv-doc/examples/data/vtest.avi)
  echo "$clip"
}

run() {
  local clip=${VIDEO:-$(default_clip)} name out
  name=$(basename "${clip%.*}")
  out=${OUT:-out/$name}
  # The HOG detector is slow, and people walk slowly: 5 frames a second are enough for it.
  [ -n "${MODEL:-}" ] || set -- --fps 5 "$@"
  echo "clip      $clip"
  exec build/bin/sightline run --source "$clip" --model "${MODEL:-people}" --out "$out" "$@"
}

run_ctest() {  # FOLDER CTEST-ARGUMENTS...
  local dir=$1 rc=0; shift
  ctest --test-dir "$dir" --output-on-failure --no-tests=error -V -O "$dir/test.log" "$@" \
    > "$dir/test.out" 2>&1 || rc=$?
  python3 tools/dev/test_report.py "$dir/test.log" || rc=1
  return $rc
}

# Called as a condition, where `set -e` is off: each step says itself what happens when it fails.
test_group() {
  case $1 in
    default) build release && python3 tools/check_layers.py && run_ctest build -LE slow ;;
    slow) build release && run_ctest build -L slow ;;
    asan|tsan|clang)
      rm -f "build-$1/test.log"
      build "$1" || return 1
      # intercept_tls_get_addr: GCC 12's leak check takes what glibc 2.36 keeps in front of libraries'
      # thread-local memory for an address, and dies of it when enough libraries are loaded.
      ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:intercept_tls_get_addr=0 \
      UBSAN_OPTIONS=print_stacktrace=1 \
      TSAN_OPTIONS=suppressions=$PWD/tools/dev/tsan.supp:halt_on_error=1:second_deadlock_stack=1 \
      LSAN_OPTIONS=suppressions=$PWD/tools/dev/lsan.supp \
        run_ctest "build-$1" -L 'unit|scenario|live' ;;
    fuzz) fuzz 20 ;;
    *) echo "./dev test: no group \"$1\"" >&2; return 2 ;;
  esac
}

test_all() {
  [ $# -gt 0 ] || set -- default
  local group rc=0
  for group in "$@"; do
    echo "== tests: $group"
    test_group "$group" || { rc=1; echo "== tests: $group FAILED" >&2; }
  done
  return $rc
}

fuzz() {
  local seconds=${1:-30} target found=0 count=0 corpus log enough; shift || true
  build fuzz fuzz_targets || return 1
  for target in ${*:-$(cd build-fuzz/bin && ls *_fuzz)}; do
    echo "fuzz: $target for $seconds s"
    corpus=build-fuzz/corpus/$target log=build-fuzz/$target.log count=$((count + 1))
    # What was found earlier is tried first, and fails until it is mended.
    mkdir -p "$corpus" "build-fuzz/crashes/$target"
    # Each of these costs a process: a number that was promised, however long it takes.
    enough=-max_total_time=$seconds
    [ "$target" != model_add_fuzz ] || enough=-runs=100000
    if UBSAN_OPTIONS=print_stacktrace=1 LSAN_OPTIONS=suppressions=$PWD/tools/dev/lsan.supp \
      "build-fuzz/bin/$target" "$enough" -rss_limit_mb=2048 -timeout=25 -verbosity=1 \
      -print_final_stats=1 -artifact_prefix="build-fuzz/crashes/$target/" "$corpus" \
      "build-fuzz/crashes/$target" $(fuzz_seeds "$target") > "$log" 2>&1
    then
      grep number_of_executed "$log"
    else
      found=$((found + 1))
      grep -E -A 12 'ERROR|runtime error' "$log" | head -40 || tail -20 "$log"
      echo "fuzz: $target FAILED; all of it: $log, the input: build-fuzz/crashes/$target" >&2
    fi
  done
  echo "$((count - found)) of $count fuzz targets found nothing"
  [ $found = 0 ]
}

# Prints folders of good inputs to begin with.
fuzz_seeds() {  # TARGET
  local made=build-fuzz/seeds/$1 kind
  case $1 in
    onnx_fuzz|torchscript_fuzz|model_add_fuzz) echo tests/data/models ;;
    config_fuzz) echo tests/data/config/good tests/data/config/bad ;;
    image_fuzz)
      mkdir -p "$made"
      for kind in jpg png webp bmp tiff gif ppm jp2; do
        [ -f "$made/a.$kind" ] || ffmpeg -nostdin -v quiet -f lavfi -i testsrc2=size=24x16 -frames:v 1 \
          "$made/a.$kind" || rm -f "$made/a.$kind"
      done
      echo "$made" ;;
    *) [ ! -d "fuzz/corpus/$1" ] || echo "fuzz/corpus/$1" ;;
  esac
}

sources() { git ls-files '*.h' '*.cc'; }

verb=${1:-help}
[ $# = 0 ] || shift
case $verb in
  setup) setup; for part in "$@"; do setup_part "$part"; done ;;
  build) setup; build "$@" ;;
  run) setup; build release sightline; run "$@" ;;
  test) setup; test_all "$@" ;;
  unit) setup; build release; run_ctest build -L unit ${1:+-R "$1"} ;;
  bench) setup; setup_apt python3-venv; build release; exec bash benchmarks/run.sh "$@" ;;
  fmt) setup_apt "${CLANG_PACKAGES[@]}"; sources | xargs clang-format-14 -i ;;
  check)
    setup; setup_apt "${CLANG_PACKAGES[@]}"; build release
    python3 tools/check_layers.py
    sources | xargs clang-format-14 --dry-run -Werror
    git diff --name-only HEAD~1 -- '*.cc' | xargs -r clang-tidy-14 -p build --quiet ;;
  fuzz) setup; fuzz "$@" ;;
  help|-h|--help) usage ;;
  *) echo "./dev: no verb \"$verb\"" >&2; usage >&2; exit 2 ;;
esac
