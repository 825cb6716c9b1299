// Any bytes as a model file, by the way of `sightline models add`: checked, mended, and what passes is
// opened and run by ONNX Runtime in a child process. Refused with words or run; a crash of ours is
// found, a crash of the runtime stays in the child and is counted. Half of the inputs are changed by
// what an ONNX file is made of.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "detect/hostile_model.h"
#include "infer/backends/onnxruntime/onnxruntime_backend.h"
#include "infer/onnx_mutator.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace sightline {
namespace {

constexpr ChildLimits kLimits = {.wall_ms = 8'000, .memory_bytes = int64_t{2} << 30};

struct Counts {
  unsigned long long refused_by_checks = 0, refused_by_runtime = 0, ran = 0, died = 0;
  ~Counts() {
    std::fprintf(stderr, "refused by checks %llu, by the runtime %llu, ran %llu, child died %llu\n",
                 refused_by_checks, refused_by_runtime, ran, died);
  }
};

void Add(std::string_view bytes) {
  static Counts counts;
  static InferenceBackend* const backend = [] {
    const auto found = OnnxRuntimeBackend();
    if (!found.ok()) std::abort();
    return *found;
  }();
  static const std::string scratch =
      (std::filesystem::temp_directory_path() / fmt::format("model_add_fuzz_{}", getpid()))
          .string();
  const HostileResult result = AddHostileModel(bytes, scratch, *backend, kLimits);
  if (!result.status.ok() && result.status.message().empty()) std::abort();
  switch (result.outcome) {
    case HostileOutcome::kRefusedByChecks:
      ++counts.refused_by_checks;
      break;
    case HostileOutcome::kRefusedByRuntime:
      ++counts.refused_by_runtime;
      break;
    case HostileOutcome::kRan:
      ++counts.ran;
      break;
    case HostileOutcome::kDied:
      ++counts.died;
      std::fprintf(stderr, "died: %s\n", std::string(MessageOf(result.status)).c_str());
  }
  unlink(scratch.c_str());
  unlink((scratch + ".mended").c_str());
}

}  // namespace
}  // namespace sightline

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  if (seed % 2 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string mutant =
      sightline::MutatedOnnx({reinterpret_cast<const char*>(data), size}, seed);
  const size_t length = std::min(mutant.size(), max_size);
  std::memcpy(data, mutant.data(), length);
  return length;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Add({reinterpret_cast<const char*>(data), size});
  return 0;
}
