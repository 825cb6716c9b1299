// Inference runtimes behind one interface. A backend is one folder under infer/backends/, one CMake
// option and one registration line in the program.
//
// A session is one loaded model that runs on one thread's behalf: its input and output buffers are
// bound once and reused, so that Run() allocates nothing of ours. Several sessions of one file
// share what the runtime can share.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "infer/model_format.h"
#include "types/tensor.h"

namespace sightline {

struct SessionOptions {
  std::string model_file;
  int intra_op_threads = 1;              // threads of one Run(); 1 = on the caller's thread alone
  std::vector<std::string> providers{};  // execution providers by name, in order; empty = "cpu"
  int max_batch = 1;                     // largest batch that Run() will be asked for
  int parallel_sessions = 1;  // sessions of this file that will run at once: a hint, for runtimes
                              // that divide their threads among them
  // Of the picture input, for files that do not state shapes (TorchScript); others leave it out of
  // account. Empty = not known.
  std::vector<int64_t> picture_shape{};
};

// What malloc() gives, and with it NumPy, whose arrays runtimes read where they lie.
inline constexpr size_t kLentAlignmentBytes = 16;

// Threads: one at a time.
class InferenceSession {
 public:
  virtual ~InferenceSession() = default;
  // As the model declares them; -1 marks dynamic dimensions.
  virtual std::span<const TensorInfo> inputs() const = 0;
  virtual std::span<const TensorInfo> outputs() const = 0;

  // Memory of input `index` for the given concrete shape, C-contiguous, 64-byte aligned, owned by
  // the session, valid until the next call for the same input with a larger shape. The caller fills
  // it before Run(). InvalidArgument when the model cannot take that shape.
  virtual absl::StatusOr<void*> InputBuffer(size_t index, std::span<const int64_t> shape) = 0;

  // Instead: the next Run() reads the input from the caller's memory, which holds all its elements, is
  // aligned to kLentAlignmentBytes and does not change before Run() is back. Nothing is written to it, and
  // after that Run() the input is to be given anew. False when the runtime must have a copy: then
  // InputBuffer() is to be filled. Errors as InputBuffer().
  virtual absl::StatusOr<bool> LendInput(size_t index, std::span<const int64_t> shape,
                                         const void* memory) {
    return false;
  }

  // The elements of input `index`, which is of strings, for the given concrete shape; otherwise as
  // InputBuffer(). Unimplemented by runtimes that take no strings.
  virtual absl::StatusOr<std::span<std::string>> InputStrings(size_t index,
                                                              std::span<const int64_t> shape) {
    return Unimplemented("this runtime takes no inputs of strings");
  }

  // Runs the model on the filled inputs. The views stay valid until the next Run().
  // InvalidArgument or Internal with the runtime's own words when it refuses.
  virtual absl::StatusOr<std::span<const TensorView>> Run() = 0;
};

// Threads: safe.
class InferenceBackend {
 public:
  virtual ~InferenceBackend() = default;
  virtual std::string_view name() const = 0;               // "onnxruntime"
  virtual std::string version() const = 0;                 // of the loaded library
  virtual std::vector<std::string> providers() const = 0;  // "cpu", "cuda", "tensorrt", ...
  // Whether files of that format can be opened.
  virtual bool Reads(ModelFormat format) const { return format == ModelFormat::kOnnx; }
  virtual absl::StatusOr<std::unique_ptr<InferenceSession>> Open(const SessionOptions& options) = 0;
};

}  // namespace sightline
