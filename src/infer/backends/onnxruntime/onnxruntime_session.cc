#include "infer/backends/onnxruntime/onnxruntime_session_internal.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/allocation_scope.h"
#include "infer/tensor_memory.h"

namespace sightline {
namespace {

class OnnxRuntimeSession final : public InferenceSession {
 public:
  explicit OnnxRuntimeSession(std::shared_ptr<OnnxRuntimeModel> model)
      : model_(std::move(model)),
        binding_(model_->session),
        cpu_(Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault)),
        inputs_(model_->inputs.size()),
        outputs_(model_->outputs.size()),
        views_(model_->outputs.size()) {
    for (const OnnxRuntimePort& port : model_->inputs) input_infos_.push_back(port.info);
    for (const OnnxRuntimePort& port : model_->outputs) output_infos_.push_back(port.info);
  }

  // Binds what is known beforehand. May throw Ort::Exception.
  absl::Status Open() {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const auto& shape = input_infos_[i].shape;
      if (input_infos_[i].dtype == DataType::kString) continue;
      if (std::find(shape.begin(), shape.end(), -1) == shape.end()) {
        SL_RETURN_IF_ERROR(BindInput(i, shape));
      }
    }
    for (size_t i = 0; i < outputs_.size(); ++i) BindOutputAnywhere(i);
    return absl::OkStatus();
  }

  std::span<const TensorInfo> inputs() const override { return input_infos_; }
  std::span<const TensorInfo> outputs() const override { return output_infos_; }

  absl::StatusOr<void*> InputBuffer(size_t index, std::span<const int64_t> shape) override {
    if (index >= inputs_.size()) {
      return InvalidArgument("{}: there is no input {}, the model has {}", model_->file, index,
                             inputs_.size());
    }
    Input& input = inputs_[index];
    if (input.bound && !input.lent && std::ranges::equal(input.shape, shape)) return input.data;
    const LibraryAllocations scope;
    try {
      SL_RETURN_IF_ERROR(BindInput(index, shape));
    } catch (const Ort::Exception& e) {
      return Internal("{}: {}", model_->file, OnnxRuntimeWords(e.what()));
    }
    return input.data;
  }

  absl::StatusOr<bool> LendInput(size_t index, std::span<const int64_t> shape,
                                 const void* memory) override {
    if (index >= inputs_.size() || input_infos_[index].dtype == DataType::kString ||
        memory == nullptr || reinterpret_cast<uintptr_t>(memory) % kLentAlignmentBytes != 0) {
      return false;
    }
    const LibraryAllocations scope;
    try {
      // The runtime takes no pointer to const; it overwrites no input of a model.
      SL_RETURN_IF_ERROR(BindInput(index, shape, const_cast<void*>(memory)));
    } catch (const Ort::Exception& e) {
      return Internal("{}: {}", model_->file, OnnxRuntimeWords(e.what()));
    }
    return true;
  }

  absl::StatusOr<std::span<std::string>> InputStrings(size_t index,
                                                      std::span<const int64_t> shape) override {
    if (index >= inputs_.size() || input_infos_[index].dtype != DataType::kString) {
      return InvalidArgument("{}: there is no input {} of strings", model_->file, index);
    }
    Input& input = inputs_[index];
    if (!input.bound || !std::ranges::equal(input.shape, shape)) {
      const LibraryAllocations scope;
      try {
        SL_RETURN_IF_ERROR(BindStrings(index, shape));
      } catch (const Ort::Exception& e) {
        return Internal("{}: {}", model_->file, OnnxRuntimeWords(e.what()));
      }
    }
    return std::span<std::string>(input.strings);
  }

  absl::StatusOr<std::span<const TensorView>> Run() override {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (!inputs_[i].bound) {
        return InvalidArgument("{}: input {} has a dynamic shape and was not given", model_->file,
                               ToString(input_infos_[i]));
      }
    }
    const LibraryAllocations scope;
    const absl::StatusOr<std::span<const TensorView>> views = RunFilled();
    for (Input& input : inputs_) input.bound &= !std::exchange(input.lent, false);
    return views;
  }

 private:
  struct Input {
    AlignedBuffer memory;
    void* data = nullptr;
    std::vector<std::string> strings;  // instead, of an input of strings
    std::vector<int64_t> shape;
    Ort::Value value{nullptr};
    bool bound = false;
    bool lent = false;  // bound to the caller's memory, for one run
  };
  struct Output {
    AlignedBuffer memory;
    std::vector<std::string> strings;
    Ort::Value value{nullptr};
    bool anywhere = true;  // the runtime allocates it in every Run
    bool believes = true;  // the declared shape was right so far
  };

  absl::StatusOr<std::span<const TensorView>> RunFilled() {
    try {
      FillStrings();
      if (outputs_stale_) {
        BindOutputs();
      } else if (some_anywhere_) {
        RenewOutputsAnywhere();
      }
      if (!RunOnce()) {
        return Internal("{}: ONNX Runtime failed on {}: {}", model_->file, InputShapes(),
                        last_error_);
      }
      if (some_anywhere_) ReadOutputsAnywhere();
      proven_ = true;
    } catch (const Ort::Exception& e) {
      return Internal("{}: {}", model_->file, OnnxRuntimeWords(e.what()));
    } catch (const std::exception& e) {
      return Internal("{}: {}", model_->file, e.what());
    }
    return std::span<const TensorView>(views_);
  }

  // To `lent`, or to memory of its own.
  absl::Status BindInput(size_t index, std::span<const int64_t> shape, void* lent = nullptr) {
    const OnnxRuntimePort& port = model_->inputs[index];
    if (!TakesShape(port.info.shape, shape)) {
      return InvalidArgument("{}: input {} cannot take the shape {}", model_->file,
                             ToString(port.info), ShapeText(shape));
    }
    const auto bytes = TensorBytes(port.info.dtype, shape);
    if (!bytes) {
      return InvalidArgument("{}: input {} with shape {} is empty or beyond 4 GiB", model_->file,
                             ToString(port.info), ShapeText(shape));
    }
    Input& input = inputs_[index];
    input.bound = false;
    input.data = lent != nullptr ? lent : input.memory.Reserve(*bytes);
    if (input.data == nullptr) {
      return ResourceExhausted("{}: no memory for {} bytes of input", model_->file, *bytes);
    }
    const bool same_shape = std::ranges::equal(input.shape, shape);
    if (!same_shape) input.shape.assign(shape.begin(), shape.end());
    outputs_stale_ |= !same_shape;
    input.value = Ort::Value::CreateTensor(cpu_, input.data, *bytes, input.shape.data(),
                                           input.shape.size(), port.element);
    binding_.BindInput(port.info.name.c_str(), input.value);
    input.bound = true;
    input.lent = lent != nullptr;
    return absl::OkStatus();
  }

  absl::Status BindStrings(size_t index, std::span<const int64_t> shape) {
    const OnnxRuntimePort& port = model_->inputs[index];
    const auto count = TensorStrings(shape);
    if (!TakesShape(port.info.shape, shape) || !count) {
      return InvalidArgument("{}: input {} cannot take the shape {}", model_->file,
                             ToString(port.info), ShapeText(shape));
    }
    Input& input = inputs_[index];
    input.bound = false;
    input.strings.resize(*count);
    input.shape.assign(shape.begin(), shape.end());
    input.value = Ort::Value::CreateTensor(allocator_, input.shape.data(), input.shape.size(),
                                           ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING);
    binding_.BindInput(port.info.name.c_str(), input.value);
    input.bound = true;
    outputs_stale_ = true;
    return absl::OkStatus();
  }

  // By length, for strings may hold zeros.
  void FillStrings() {
    for (Input& input : inputs_) {
      for (size_t i = 0; i < input.strings.size(); ++i) {
        const std::string& text = input.strings[i];
        char* const to = input.value.GetResizedStringTensorElementBuffer(i, text.size());
        if (!text.empty()) std::memcpy(to, text.data(), text.size());
      }
    }
  }

  // The shape that output `index` will have if the declaration is right: fixed dimensions as they
  // are, named ones as the inputs have them. False when some dimension cannot be known.
  bool ResolveShape(size_t index, std::vector<int64_t>& shape) const {
    const OnnxRuntimePort& port = model_->outputs[index];
    shape = port.info.shape;
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] > 0) continue;
      if (port.symbols[d].empty() || !LookUpSymbol(port.symbols[d], shape[d])) return false;
    }
    return true;
  }

  bool LookUpSymbol(std::string_view symbol, int64_t& value) const {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const auto& symbols = model_->inputs[i].symbols;
      for (size_t d = 0; d < symbols.size(); ++d) {
        if (symbols[d] == symbol) {
          value = inputs_[i].shape[d];
          return true;
        }
      }
    }
    return false;
  }

  // After the inputs' shapes changed. Until a first run has shown that the declared shapes are true
  // (some exporters write wrong ones), the runtime allocates the outputs.
  void BindOutputs() {
    returned_.clear();
    some_anywhere_ = false;
    for (size_t i = 0; i < outputs_.size(); ++i) {
      if (!proven_ || !outputs_[i].believes || !BindOutputHere(i)) BindOutputAnywhere(i);
      some_anywhere_ |= outputs_[i].anywhere;
    }
    outputs_stale_ = !proven_;  // looked at once more when the first run has been
  }

  bool BindOutputHere(size_t index) {
    const OnnxRuntimePort& port = model_->outputs[index];
    TensorView& view = views_[index];
    Output& output = outputs_[index];
    if (port.info.dtype == DataType::kOther || !ResolveShape(index, view.shape)) return false;
    const auto bytes = TensorBytes(port.info.dtype, view.shape);
    if (!bytes) return false;
    void* data = output.memory.Reserve(*bytes);
    if (data == nullptr) return false;
    output.value = Ort::Value::CreateTensor(cpu_, data, *bytes, view.shape.data(),
                                            view.shape.size(), port.element);
    binding_.BindOutput(port.info.name.c_str(), output.value);
    view.dtype = port.info.dtype;
    view.data = data;
    output.anywhere = false;
    return true;
  }

  void BindOutputAnywhere(size_t index) {
    binding_.BindOutput(model_->outputs[index].info.name.c_str(), cpu_);
    outputs_[index].anywhere = true;
    some_anywhere_ = true;
  }

  // A run leaves what it allocated in the binding, and the next one would take it for memory that
  // it has to fill, whatever the shape.
  void RenewOutputsAnywhere() {
    returned_.clear();
    for (size_t i = 0; i < outputs_.size(); ++i) {
      if (outputs_[i].anywhere) BindOutputAnywhere(i);
    }
  }

  // Runs; when that fails with outputs bound to our memory, tries once more with none of them
  // bound, in case a declared shape was wrong after all.
  bool RunOnce() {
    if (TryRun()) return true;
    bool any_here = false;
    for (size_t i = 0; i < outputs_.size(); ++i) {
      if (outputs_[i].anywhere) continue;
      any_here = true;
      outputs_[i].believes = false;
      BindOutputAnywhere(i);
    }
    if (!any_here) return false;
    if (TryRun()) return true;
    for (Output& output : outputs_) output.believes = true;  // it was not the shapes
    outputs_stale_ = true;
    return false;
  }

  bool TryRun() {
    try {
      model_->session.Run(run_options_, binding_);
      return true;
    } catch (const Ort::Exception& e) {
      last_error_ = OnnxRuntimeWords(e.what());
      return false;
    }
  }

  void ReadOutputsAnywhere() {
    returned_ = binding_.GetOutputValues();
    for (size_t i = 0; i < outputs_.size(); ++i) {
      if (!outputs_[i].anywhere) continue;
      TensorView& view = views_[i];
      view.dtype = model_->outputs[i].info.dtype;
      view.shape = returned_[i].GetTensorTypeAndShapeInfo().GetShape();
      if (view.dtype == DataType::kString) {
        ReadStrings(i);
      } else {
        view.data = returned_[i].GetTensorRawData();
      }
      if (!proven_) {
        std::vector<int64_t> declared;
        outputs_[i].believes = ResolveShape(i, declared) && declared == view.shape;
      }
    }
  }

  void ReadStrings(size_t index) {
    std::vector<std::string>& strings = outputs_[index].strings;
    strings.resize(returned_[index].GetTensorTypeAndShapeInfo().GetElementCount());
    for (size_t i = 0; i < strings.size(); ++i) {
      strings[i] = returned_[index].GetStringTensorElement(i);
    }
    views_[index].data = strings.data();
  }

  std::string InputShapes() const {
    std::string text;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (i > 0) text += ", ";
      text += input_infos_[i].name + ShapeText(inputs_[i].shape);
    }
    return text;
  }

  const std::shared_ptr<OnnxRuntimeModel> model_;
  Ort::IoBinding binding_;
  Ort::MemoryInfo cpu_;
  Ort::AllocatorWithDefaultOptions allocator_;
  Ort::RunOptions run_options_;
  std::vector<TensorInfo> input_infos_;
  std::vector<TensorInfo> output_infos_;
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  std::vector<TensorView> views_;
  std::vector<Ort::Value> returned_;  // what the runtime allocated in the last Run
  std::string last_error_;
  bool outputs_stale_ = true;
  bool some_anywhere_ = true;
  bool proven_ = false;  // one run went through
};

}  // namespace

std::string OnnxRuntimeWords(const char* what) {
  std::string_view words = what;
  // "/path/of/its/build/file.cc:123 void onnxruntime::F(...) message": the message follows the last
  // bracket of the function's signature, which some messages do not have.
  if (words.starts_with('/')) {
    if (const auto end = words.find(") "); end != std::string_view::npos)
      words.remove_prefix(end + 2);
  }
  while (!words.empty() && (words.back() == '\n' || words.back() == ' ')) words.remove_suffix(1);
  constexpr size_t kLongest = 600;  // chosen: some messages hold whole graphs
  std::string text(words.substr(0, kLongest));
  if (words.size() > kLongest) text += " ...";
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

absl::StatusOr<std::unique_ptr<InferenceSession>> MakeOnnxRuntimeSession(
    std::shared_ptr<OnnxRuntimeModel> model) {
  const LibraryAllocations scope;
  const std::string file = model->file;
  try {
    auto session = std::make_unique<OnnxRuntimeSession>(std::move(model));
    SL_RETURN_IF_ERROR(session->Open());
    return std::unique_ptr<InferenceSession>(std::move(session));
  } catch (const Ort::Exception& e) {
    return Internal("{}: {}", file, OnnxRuntimeWords(e.what()));
  }
}

}  // namespace sightline
