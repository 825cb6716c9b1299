// What nearly every file includes, read once for all of them (sightline_precompile in Sightline.cmake).
//
// A file still includes all that it uses: the presets `clang` and `fuzz` build without this header.
// Only headers from outside the project belong here, for whatever changes in it is built anew
// everywhere.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
