# Sourced by main.sh: installs what a fresh Debian 12 lacks. Idempotent; fast when nothing is missing.

APT_PACKAGES=(
  # build
  g++ cmake ninja-build ccache pkg-config python3 python3-pip unzip ca-certificates
  # libraries
  libabsl-dev libfmt-dev libspdlog-dev libssl-dev libeigen3-dev nlohmann-json3-dev libcli11-dev
  libboost-dev libcurl4-openssl-dev
  libyaml-cpp-dev libsqlite3-dev libxxhash-dev libhiredis-dev libhwy-dev
  libturbojpeg0-dev libwebp-dev libpng-dev
  libsimdjson-dev zlib1g-dev
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
  libavcodec-dev libavformat-dev libavutil-dev libswscale-dev
  libopencv-core-dev libopencv-imgproc-dev libopencv-objdetect-dev libopencv-video-dev
  # tests and the main job
  libgtest-dev libgmock-dev libbenchmark-dev librapidcheck-dev ffmpeg sqlite3 python3-venv redis-server libb64-0d
  opencv-doc opencv-data
  # the RTSP servers of `sim serve` and of the tests; -good has JPEG and RTP, -bad has the tests' H.264 and H.265
  libgstrtspserver-1.0-dev gstreamer1.0-plugins-good gstreamer1.0-plugins-bad openssl
)
# Only for the clang and fuzz presets, ./dev fmt and ./dev check.
CLANG_PACKAGES=(clang-14 clang-tidy-14 clang-format-14 libclang-rt-14-dev lld-14)
# Only for TorchScript files (`./dev setup torchscript`): 260 MB. This OpenBLAS keeps to libtorch's threads.
TORCHSCRIPT_PACKAGES=(libtorch-dev libopenblas0-openmp)

ORT_VERSION=1.31.1
ORT_HEADERS_VERSION=1.21.0+dfsg-1

OPENVINO_VERSION=2026.4.1
OPENVINO_SHA256_x86_64=2d22b1da03f7caf74df30e9f6417d0ab2f637e4a38e08e1dcd294d2c37407aaf

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    echo "setup: installing packages needs root or sudo: $*" >&2; return 1; fi
}

setup_apt() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  echo "setup: installing ${#missing[@]} Debian packages: ${missing[*]}"
  as_root apt-get -o DPkg::Lock::Timeout=600 update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq \
    --no-install-recommends "${missing[@]}" >/dev/null
}

# Prints the path of one file of a Debian package, unpacked into .cache/.
setup_package_file() {  # PACKAGE PATH
  local kept=$PWD/.cache/packages/$1/$2 work
  if [ ! -f "$kept" ]; then
    work=$(mktemp -d)
    (cd "$work" && chmod 755 . && apt-get download -qq "$1" >&2 && dpkg-deb -x "$1"_*.deb x)
    mkdir -p "$(dirname "$kept")"
    cp "$work/x/$2" "$kept"
    rm -rf "$work"
  fi
  echo "$kept"
}

# ONNX Runtime: the library out of the Python wheel (no Python is needed to run it), the C++ headers
# out of the next Debian release's package, through an apt state of its own.
setup_onnxruntime() {
  local root=$PWD/.cache/onnxruntime
  [ -f "$root/ok-$ORT_VERSION" ] && return 0
  echo "setup: fetching ONNX Runtime $ORT_VERSION"
  local work; work=$(mktemp -d)
  rm -rf "$root"; mkdir -p "$root/lib" "$root/include" "$root/licenses"
  python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.11 \
    --platform "manylinux_2_28_$(uname -m)" -d "$work" "onnxruntime==$ORT_VERSION"
  unzip -oqj "$work"/onnxruntime-*.whl 'onnxruntime/capi/libonnxruntime.so.*' -d "$root/lib"
  unzip -oqj "$work"/onnxruntime-*.whl onnxruntime/LICENSE onnxruntime/ThirdPartyNotices.txt -d "$root/licenses"
  ln -sf "libonnxruntime.so.$ORT_VERSION" "$root/lib/libonnxruntime.so.1"
  mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial"
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
           awk '$2=="bookworm"{print $1; exit}')
  printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
    "$mirror" > "$work/parts/trixie.sources"
  local apt=(apt-get -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/parts"
             -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache")
  [ "$(id -u)" = 0 ] && apt+=(-o APT::Sandbox::User=root)
  "${apt[@]}" -qq update
  (cd "$work" && "${apt[@]}" -qq download "libonnxruntime-dev=$ORT_HEADERS_VERSION" &&
   dpkg-deb -x libonnxruntime-dev_*.deb x)
  cp -r "$work/x/usr/include/onnxruntime/." "$root/include/"
  rm -rf "$work"
  touch "$root/ok-$ORT_VERSION"
}

# OpenVINO: out of the Python wheel what runs ONNX and TensorFlow Lite models on a processor (93 MB),
# and the headers of its C interface. On a machine whose wheel is not known here the program is built
# without it.
setup_openvino() {
  local root=$PWD/.cache/openvino work sha256
  sha256=OPENVINO_SHA256_$(uname -m)
  sha256=${!sha256:-}
  [ -n "$sha256" ] || return 0
  [ -f "$root/ok-$OPENVINO_VERSION" ] && return 0
  echo "setup: fetching OpenVINO $OPENVINO_VERSION"
  work=$(mktemp -d)
  # An option: without it the program is built all the same, and what is there already stays.
  if unpack_openvino "$work" "$sha256"; then
    rm -rf "$root"
    mv "$work/root" "$root"
    touch "$root/ok-$OPENVINO_VERSION"
  else
    echo "setup: OpenVINO $OPENVINO_VERSION could not be had; the program is built without it" >&2
  fi
  rm -rf "$work"
}

# Called as a condition, where `set -e` is off: each step says itself what happens when it fails.
unpack_openvino() {  # FOLDER SHA256
  local work=$1 root=$1/root
  mkdir -p "$root/lib" "$root/include" "$root/licenses" || return 1
  python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.11 \
    --platform "manylinux_2_28_$(uname -m)" -d "$work" "openvino==$OPENVINO_VERSION" || return 1
  echo "$2  $(echo "$work"/openvino-*.whl)" | sha256sum -c --status || {
    echo "setup: the file of OpenVINO $OPENVINO_VERSION is not the one that is known" >&2
    return 1
  }
  unzip -oq "$work"/openvino-*.whl 'openvino/libs/libopenvino.so.*' 'openvino/libs/libopenvino_c.so.*' \
    openvino/libs/libopenvino_intel_cpu_plugin.so 'openvino/libs/libopenvino_onnx_frontend.so.*' \
    'openvino/libs/libopenvino_tensorflow_lite_frontend.so.*' openvino/libs/libtbb.so.12 \
    'openvino/include/openvino/c/*' 'openvino-*.dist-info/licenses/*' -d "$work/x" || return 1
  mv "$work"/x/openvino/libs/* "$root/lib/" || return 1
  mv "$work"/x/openvino/include/openvino "$root/include/" || return 1
  find "$work"/x/openvino-*.dist-info/licenses -type f -exec mv -t "$root/licenses" {} + || return 1
  ln -sf "$(basename "$root"/lib/libopenvino_c.so.*)" "$root/lib/libopenvino_c.so"
}

# Parts that nothing else needs, by name.
setup_part() {  # NAME
  case $1 in
    torchscript) setup_apt "${TORCHSCRIPT_PACKAGES[@]}" || return 1 ;;
    *) echo "./dev setup: no part \"$1\"; there is: torchscript" >&2; return 2 ;;
  esac
  # What is there now is found by asking again.
  [ ! -f build/build.ninja ] || cmake --preset release >/dev/null
}

setup() {
  setup_apt "${APT_PACKAGES[@]}"
  setup_onnxruntime
  setup_openvino
}
