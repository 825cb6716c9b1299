// libsightline_torchscript.so: libtorch behind the C functions of torchscript_abi.h. Nothing of the
// engine is used here, and nothing of this is linked with the engine.
#include <ATen/Parallel.h>
#include <torch/script.h>
#include <torch/version.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <istream>
#include <memory>
#include <mutex>
#include <streambuf>
#include <string>
#include <utility>
#include <vector>

#include "infer/backends/torchscript/torchscript_abi.h"

struct SightlineTorchModel {
  torch::jit::Module module;
  std::vector<std::string> inputs;
  int32_t outputs = 0;
  int32_t element = SIGHTLINE_TORCH_FLOAT32;
};

struct SightlineTorchResult {
  std::vector<at::Tensor> tensors;
};

namespace {

// The end of the words: in front of the reason stands a trace of the model's code of any length.
void SayTo(char* error, size_t error_bytes, const std::string& words) {
  if (error == nullptr || error_bytes == 0) return;
  const size_t kept = std::min(words.size(), error_bytes - 1);
  std::memcpy(error, words.data() + (words.size() - kept), kept);
  error[kept] = '\0';
}

// Runs `work`; whatever it throws becomes words. libtorch throws c10::Error, whose what() holds a stack
// trace that is of no use to anybody here.
template <typename Work>
bool Guarded(char* error, size_t error_bytes, const Work& work) noexcept {
  try {
    work();
    return true;
  } catch (const c10::Error& e) {
    SayTo(error, error_bytes, e.what_without_backtrace());
  } catch (const std::exception& e) {
    SayTo(error, error_bytes, e.what());
  } catch (...) {
    SayTo(error, error_bytes, "something that is no exception was thrown");
  }
  return false;
}

// A file's bytes as a stream, without a copy.
class MemoryBuffer final : public std::streambuf {
 public:
  MemoryBuffer(const void* bytes, size_t size) {
    char* begin = const_cast<char*>(static_cast<const char*>(bytes));
    setg(begin, begin, begin + size);
  }

 protected:
  pos_type seekoff(off_type offset, std::ios_base::seekdir way, std::ios_base::openmode) override {
    const off_type base = way == std::ios_base::beg   ? 0
                          : way == std::ios_base::cur ? gptr() - eback()
                                                      : egptr() - eback();
    const off_type to = base + offset;
    if (to < 0 || to > egptr() - eback()) return pos_type(off_type(-1));
    setg(eback(), eback() + to, egptr());
    return pos_type(to);
  }
  pos_type seekpos(pos_type position, std::ios_base::openmode mode) override {
    return seekoff(off_type(position), std::ios_base::beg, mode);
  }
};

int32_t ElementOf(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return SIGHTLINE_TORCH_FLOAT32;
    case at::kHalf:
      return SIGHTLINE_TORCH_FLOAT16;
    case at::kByte:
      return SIGHTLINE_TORCH_UINT8;
    case at::kLong:
      return SIGHTLINE_TORCH_INT64;
    case at::kInt:
      return SIGHTLINE_TORCH_INT32;
    case at::kBool:
      return SIGHTLINE_TORCH_BOOL;
    default:
      return SIGHTLINE_TORCH_OTHER;
  }
}

at::ScalarType TypeOf(int32_t element) {
  switch (element) {
    case SIGHTLINE_TORCH_FLOAT16:
      return at::kHalf;
    case SIGHTLINE_TORCH_UINT8:
      return at::kByte;
    case SIGHTLINE_TORCH_INT64:
      return at::kLong;
    case SIGHTLINE_TORCH_INT32:
      return at::kInt;
    case SIGHTLINE_TORCH_BOOL:
      return at::kBool;
    default:
      return at::kFloat;
  }
}

constexpr int kDeepestTuple = 8;  // chosen: exporters nest tuples once or twice

// Tensors in what a type promises; -1 when something in it is none.
int32_t TensorsIn(const c10::TypePtr& type, int depth) {
  if (type->kind() == c10::TypeKind::TensorType) return 1;
  if (type->kind() != c10::TypeKind::TupleType || depth == kDeepestTuple) return -1;
  int32_t sum = 0;
  for (const c10::TypePtr& element : type->containedTypes()) {
    const int32_t tensors = TensorsIn(element, depth + 1);
    if (tensors < 0) return -1;
    sum += tensors;
  }
  return sum;
}

// As the engine can read it: plain memory, an element type that it has.
at::Tensor Readable(const at::Tensor& tensor) {
  at::Tensor plain = tensor.layout() == at::kStrided ? tensor : tensor.to_dense();
  if (plain.is_quantized()) plain = plain.dequantize();
  const at::ScalarType type = plain.scalar_type();
  if (ElementOf(type) == SIGHTLINE_TORCH_OTHER) {
    if (at::isFloatingType(type)) plain = plain.to(at::kFloat);
    if (at::isIntegralType(type, /*includeBool=*/false)) plain = plain.to(at::kInt);
  }
  return plain.contiguous();
}

void Collect(const c10::IValue& value, std::vector<at::Tensor>& tensors) {
  if (value.isTensor()) {
    tensors.push_back(Readable(value.toTensor()));
    return;
  }
  TORCH_CHECK(value.isTuple(), "it gave ", value.tagKind(), " where a tensor was promised");
  for (const c10::IValue& element : value.toTuple()->elements()) Collect(element, tensors);
}

// libtorch keeps the number of threads for each thread that calls it, and one for those that have not
// said any. Setting it takes locks, so a thread does that when it changes.
void SetThreads(int32_t threads) {
  static std::mutex mutex;
  static const bool once = [] {
    // Branches of a graph that could run side by side do not: those threads are counted by nobody.
    try {
      at::set_num_interop_threads(1);
    } catch (...) {
      return false;  // somebody else in this process uses libtorch, too
    }
    return true;
  }();
  (void)once;
  thread_local int32_t last = 0;
  if (last == threads) return;
  const std::lock_guard<std::mutex> lock(mutex);
  at::set_num_threads(threads);
  last = threads;
}

void Load(const void* bytes, size_t size, SightlineTorchModel& model) {
  const c10::InferenceMode no_gradients;
  SetThreads(1);
  MemoryBuffer buffer(bytes, size);
  std::istream stream(&buffer);
  model.module = torch::jit::load(stream, at::Device(at::kCPU));
  model.module.eval();
  const c10::FunctionSchema schema = model.module.get_method("forward").function().getSchema();
  for (const c10::Argument& argument : schema.arguments()) {
    if (argument.name() == "self" || argument.default_value()) continue;
    TORCH_CHECK(argument.type()->kind() == c10::TypeKind::TensorType, "its input ", argument.name(),
                " is a ", argument.type()->str(),
                " and no tensor: trace a module that takes tensors");
    model.inputs.push_back(argument.name());
  }
  TORCH_CHECK(!model.inputs.empty(), "it takes no tensor");
  TORCH_CHECK(schema.returns().size() == 1, "it gives ", schema.returns().size(), " values");
  const c10::TypePtr& result = schema.returns()[0].type();
  model.outputs = TensorsIn(result, 0);
  TORCH_CHECK(model.outputs > 0, "its result is ", result->str(),
              " and no tensor or tuple of tensors: trace a module whose forward() returns those");
  for (const at::Tensor& weights : model.module.parameters()) {
    if (!weights.is_floating_point()) continue;
    model.element = ElementOf(weights.scalar_type());
    TORCH_CHECK(model.element != SIGHTLINE_TORCH_OTHER, "its weights are ", weights.dtype(),
                ": save it as float32");
    break;
  }
  // Weights become constants, and batch normalisations part of convolutions. What cannot be frozen runs
  // as it is.
  try {
    model.module = torch::jit::freeze(model.module);
  } catch (const std::exception&) {
  }
}

}  // namespace

#define SIGHTLINE_EXPORT extern "C" __attribute__((visibility("default")))

SIGHTLINE_EXPORT int32_t sightline_torchscript_abi(void) { return SIGHTLINE_TORCHSCRIPT_ABI; }

SIGHTLINE_EXPORT const char* sightline_torchscript_version(void) { return TORCH_VERSION; }

SIGHTLINE_EXPORT SightlineTorchModel* sightline_torchscript_open(const void* bytes, size_t size,
                                                                 char* error, size_t error_bytes) {
  std::unique_ptr<SightlineTorchModel> model;
  const bool loaded = Guarded(error, error_bytes, [&] {
    model = std::make_unique<SightlineTorchModel>();
    Load(bytes, size, *model);
  });
  return loaded ? model.release() : nullptr;
}

SIGHTLINE_EXPORT void sightline_torchscript_close(SightlineTorchModel* model) { delete model; }

SIGHTLINE_EXPORT int32_t sightline_torchscript_inputs(const SightlineTorchModel* model) {
  return static_cast<int32_t>(model->inputs.size());
}

SIGHTLINE_EXPORT const char* sightline_torchscript_input_name(const SightlineTorchModel* model,
                                                              int32_t index) {
  return model->inputs[static_cast<size_t>(index)].c_str();
}

SIGHTLINE_EXPORT int32_t sightline_torchscript_outputs(const SightlineTorchModel* model) {
  return model->outputs;
}

SIGHTLINE_EXPORT int32_t sightline_torchscript_element(const SightlineTorchModel* model) {
  return model->element;
}

SIGHTLINE_EXPORT SightlineTorchResult* sightline_torchscript_run(SightlineTorchModel* model,
                                                                 int32_t threads,
                                                                 const SightlineTorchTensor* inputs,
                                                                 char* error, size_t error_bytes) {
  std::unique_ptr<SightlineTorchResult> result;
  const bool ran = Guarded(error, error_bytes, [&] {
    const c10::InferenceMode no_gradients;
    SetThreads(threads);
    std::vector<c10::IValue> arguments;
    for (size_t i = 0; i < model->inputs.size(); ++i) {
      const SightlineTorchTensor& input = inputs[i];
      arguments.emplace_back(
          at::from_blob(input.data, at::IntArrayRef(input.shape, static_cast<size_t>(input.rank)),
                        at::TensorOptions().dtype(TypeOf(input.element))));
    }
    auto collected = std::make_unique<SightlineTorchResult>();
    Collect(model->module.forward(std::move(arguments)), collected->tensors);
    TORCH_CHECK(collected->tensors.size() == static_cast<size_t>(model->outputs), "it gave ",
                collected->tensors.size(), " tensors where ", model->outputs, " were promised");
    for (at::Tensor& tensor : collected->tensors) {
      TORCH_CHECK(ElementOf(tensor.scalar_type()) != SIGHTLINE_TORCH_OTHER, "it gave a tensor of ",
                  tensor.dtype(), ", which cannot be read");
      // What it was given belongs to the caller, who changes it before the next run.
      for (size_t i = 0; i < model->inputs.size(); ++i) {
        if (tensor.storage().data() == inputs[i].data) tensor = tensor.clone();
      }
    }
    result = std::move(collected);
  });
  return ran ? result.release() : nullptr;
}

SIGHTLINE_EXPORT SightlineTorchTensor
sightline_torchscript_output(const SightlineTorchResult* result, int32_t index) {
  const at::Tensor& tensor = result->tensors[static_cast<size_t>(index)];
  return {ElementOf(tensor.scalar_type()), static_cast<int32_t>(tensor.dim()),
          tensor.sizes().data(), tensor.numel() > 0 ? tensor.data_ptr() : nullptr};
}

SIGHTLINE_EXPORT void sightline_torchscript_free(SightlineTorchResult* result) { delete result; }
