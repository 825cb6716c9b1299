// For tests and fuzzing: takes a model file through what `sightline models add` does with it, the
// runtime in a child process as there.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "base/child_call.h"
#include "base/log.h"
#include "base/whole_file.h"
#include "detect/detector_factory.h"
#include "detect/model_probe.h"
#include "detect/recognise.h"
#include "infer/backend.h"
#include "infer/onnx_file.h"

namespace sightline {

enum class HostileOutcome {
  kRefusedByChecks,   // with words, before a runtime saw it
  kRefusedByRuntime,  // with words, in the child
  kRan,
  kDied  // the child crashed, or was killed for its time: contained, and refused with words
};

struct HostileResult {
  HostileOutcome outcome = HostileOutcome::kRefusedByChecks;
  absl::Status status;
};

// One run on zeros, with 1 for what is open.
inline absl::Status OpenAndRun(const std::string& file, InferenceBackend& backend) {
  SL_ASSIGN_OR_RETURN(auto session, backend.Open({.model_file = file}));
  for (size_t i = 0; i < session->inputs().size(); ++i) {
    std::vector<int64_t> shape = session->inputs()[i].shape;
    for (int64_t& d : shape) d = d > 0 ? d : 1;
    SL_RETURN_IF_ERROR(session->InputBuffer(i, shape).status());
  }
  return session->Run().status();
}

// `scratch`: a path that may be written, and with ".mended" behind it.
inline HostileResult AddHostileModel(std::string_view bytes, const std::string& scratch,
                                     InferenceBackend& backend, const ChildLimits& limits) {
  std::ofstream(scratch, std::ios::binary) << bytes;
  const auto checked = [&]() -> absl::StatusOr<OnnxFileInfo> {
    SL_ASSIGN_OR_RETURN(OnnxFileInfo info, InspectOnnx(scratch));
    if (info.file_bytes != bytes.size()) std::abort();  // no room for the test itself
    (void)Describe(info);
    SL_RETURN_IF_ERROR(CheckSelfContained(info));
    SL_RETURN_IF_ERROR(MendOnnx(scratch, scratch + ".mended").status());
    return info;
  }();
  if (!checked.ok()) return {HostileOutcome::kRefusedByChecks, checked.status()};
  const ChildAnswer used = CallInChild(
      [&]() -> absl::Status {
        Log().set_level(spdlog::level::off);
        const std::string file = scratch + ".mended";
        auto recognised = RecogniseModel(*checked, ProbeWith(backend, file));
        if (!recognised.ok()) return OpenAndRun(file, backend);
        recognised->spec.file = file;
        return TryModel(recognised->spec, backend);
      },
      limits);
  if (used.status.ok()) return {HostileOutcome::kRan, used.status};
  return {used.died ? HostileOutcome::kDied : HostileOutcome::kRefusedByRuntime, used.status};
}

}  // namespace sightline
