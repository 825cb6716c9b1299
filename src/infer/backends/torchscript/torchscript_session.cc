#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/allocation_scope.h"
#include "infer/backends/torchscript/torchscript_session_internal.h"
#include "infer/tensor_memory.h"

namespace sightline {
namespace {

constexpr size_t kMaxRank = 16;  // chosen

DataType FromTorch(int32_t element) {
  switch (element) {
    case SIGHTLINE_TORCH_FLOAT32:
      return DataType::kFloat32;
    case SIGHTLINE_TORCH_FLOAT16:
      return DataType::kFloat16;
    case SIGHTLINE_TORCH_UINT8:
      return DataType::kUint8;
    case SIGHTLINE_TORCH_INT64:
      return DataType::kInt64;
    case SIGHTLINE_TORCH_INT32:
      return DataType::kInt32;
    case SIGHTLINE_TORCH_BOOL:
      return DataType::kBool;
    default:
      return DataType::kOther;
  }
}

int32_t ToTorch(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return SIGHTLINE_TORCH_FLOAT16;
    case DataType::kUint8:
      return SIGHTLINE_TORCH_UINT8;
    case DataType::kInt64:
      return SIGHTLINE_TORCH_INT64;
    case DataType::kInt32:
      return SIGHTLINE_TORCH_INT32;
    case DataType::kBool:
      return SIGHTLINE_TORCH_BOOL;
    default:
      return SIGHTLINE_TORCH_FLOAT32;
  }
}

class TorchScriptSession final : public InferenceSession {
 public:
  TorchScriptSession(std::shared_ptr<const TorchScriptModel> model, int threads)
      : model_(std::move(model)),
        api_(model_->api),
        threads_(threads),
        input_infos_(model_->inputs),
        output_infos_(model_->outputs),
        inputs_(input_infos_.size()),
        tensors_(input_infos_.size()),
        views_(output_infos_.size()),
        result_(nullptr, api_.sightline_torchscript_free) {}

  // Learns the outputs' shapes by a run on zeros.
  absl::Status Learn(const std::vector<int64_t>& picture_shape) {
    SL_RETURN_IF_ERROR(InputBuffer(0, picture_shape).status());
    // With several inputs the others' shapes are not known.
    if (inputs_.size() == 1) {
      SL_RETURN_IF_ERROR(Run().status());
      for (size_t i = 0; i < views_.size(); ++i) {
        output_infos_[i].dtype = views_[i].dtype;
        output_infos_[i].shape = Open(views_[i].shape, picture_shape[0]);
      }
    }
    input_infos_[0].shape = picture_shape;
    input_infos_[0].shape[0] = -1;
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
    if (input.data != nullptr && std::ranges::equal(input.shape, shape)) return input.data;
    const LibraryAllocations scope;
    const TensorInfo& info = input_infos_[index];
    const bool fits = info.shape.empty() ? !shape.empty() && shape.size() <= kMaxRank
                                         : TakesShape(info.shape, shape);
    if (!fits) {
      return InvalidArgument("{}: input {} cannot take the shape {}", model_->file, ToString(info),
                             ShapeText(shape));
    }
    const auto bytes = TensorBytes(info.dtype, shape);
    if (!bytes) {
      return InvalidArgument("{}: input {} with shape {} is empty or beyond 4 GiB", model_->file,
                             ToString(info), ShapeText(shape));
    }
    void* const data = input.memory.Reserve(*bytes);
    if (data == nullptr) {
      return ResourceExhausted("{}: no memory for {} bytes of input", model_->file, *bytes);
    }
    input.data = data;
    input.shape.assign(shape.begin(), shape.end());
    tensors_[index] = {.element = ToTorch(info.dtype),
                       .rank = static_cast<int32_t>(input.shape.size()),
                       .shape = input.shape.data(),
                       .data = data};
    return data;
  }

  absl::StatusOr<std::span<const TensorView>> Run() override {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i].data == nullptr) {
        return InvalidArgument("{}: input {} has a dynamic shape and was not given", model_->file,
                               ToString(input_infos_[i]));
      }
    }
    const LibraryAllocations scope;
    std::array<char, kTorchErrorBytes> error{};
    result_.reset(api_.sightline_torchscript_run(model_->model.get(), threads_, tensors_.data(),
                                                 error.data(), error.size()));
    if (result_ == nullptr) {
      return Internal("{}: libtorch failed on {}: {}", model_->file, InputShapes(),
                      TorchScriptWords(error.data()));
    }
    for (size_t i = 0; i < views_.size(); ++i) {
      const SightlineTorchTensor tensor =
          api_.sightline_torchscript_output(result_.get(), static_cast<int32_t>(i));
      views_[i].dtype = FromTorch(tensor.element);
      views_[i].shape.assign(tensor.shape, tensor.shape + tensor.rank);
      views_[i].data = tensor.data;
    }
    return std::span<const TensorView>(views_);
  }

 private:
  struct Input {
    AlignedBuffer memory;
    void* data = nullptr;  // null = no shape was given yet
    std::vector<int64_t> shape;
  };

  // A first dimension that is the batch may be any, and so may one that was 0: it counts findings.
  static std::vector<int64_t> Open(std::vector<int64_t> shape, int64_t batch) {
    if (!shape.empty() && shape[0] == batch) shape[0] = -1;
    std::ranges::replace(shape, 0, -1);
    return shape;
  }

  std::string InputShapes() const {
    std::string text;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (i > 0) text += ", ";
      text += input_infos_[i].name + ShapeText(inputs_[i].shape);
    }
    return text;
  }

  const std::shared_ptr<const TorchScriptModel> model_;
  const TorchScriptApi& api_;
  const int threads_;
  std::vector<TensorInfo> input_infos_;
  std::vector<TensorInfo> output_infos_;
  std::vector<Input> inputs_;
  std::vector<SightlineTorchTensor> tensors_;  // over `inputs_`
  std::vector<TensorView> views_;
  // Of the last run; `views_` show it.
  std::unique_ptr<SightlineTorchResult, void (*)(SightlineTorchResult*)> result_;
};

}  // namespace

std::string TorchScriptWords(const char* error) {
  // "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript ...:\n
  // <the model's code>\nRuntimeError: words\n"
  std::string_view words = error;
  if (const size_t last = words.rfind("Error: "); last != words.npos && last > 0) {
    words.remove_prefix(last + std::strlen("Error: "));
  }
  constexpr size_t kLongest = 600;  // chosen: some messages hold whole graphs
  std::string text(words.substr(0, kLongest));
  if (words.size() > kLongest) text += " ...";
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text.empty() ? "no reason given" : text;
}

absl::StatusOr<std::unique_ptr<InferenceSession>> MakeTorchScriptSession(
    std::shared_ptr<const TorchScriptModel> model, int threads,
    const std::vector<int64_t>& picture_shape) {
  const LibraryAllocations scope;
  auto session = std::make_unique<TorchScriptSession>(std::move(model), threads);
  if (!picture_shape.empty()) SL_RETURN_IF_ERROR(session->Learn(picture_shape));
  return std::unique_ptr<InferenceSession>(std::move(session));
}

}  // namespace sightline
