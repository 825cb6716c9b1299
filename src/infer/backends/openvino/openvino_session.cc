#include <algorithm>
#include <exception>
#include <utility>

#include "base/allocation_scope.h"
#include "infer/backends/openvino/openvino_session_internal.h"
#include "infer/tensor_memory.h"

namespace sightline {
namespace {

class OpenVinoSession final : public InferenceSession {
 public:
  OpenVinoSession(std::shared_ptr<const OpenVinoModel> model,
                  OpenVinoOwned<ov_infer_request_t> request)
      : model_(std::move(model)),
        api_(*model_->api),
        request_(std::move(request)),
        inputs_(model_->inputs.size()),
        views_(model_->outputs.size()) {
    for (size_t i = 0; i < model_->outputs.size(); ++i) {
      outputs_.emplace_back(nullptr, api_.ov_tensor_free);
    }
  }
  ~OpenVinoSession() override {
    outputs_.clear();
    request_.reset();
    for (Input& input : inputs_) Free(input);
  }

  // Binds what is known beforehand.
  absl::Status Open() {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const auto& shape = model_->inputs[i].shape;
      if (std::find(shape.begin(), shape.end(), -1) == shape.end()) {
        SL_RETURN_IF_ERROR(BindInput(i, shape));
      }
    }
    return absl::OkStatus();
  }

  std::span<const TensorInfo> inputs() const override { return model_->inputs; }
  std::span<const TensorInfo> outputs() const override { return model_->outputs; }

  absl::StatusOr<void*> InputBuffer(size_t index, std::span<const int64_t> shape) override {
    if (index >= inputs_.size()) {
      return InvalidArgument("{}: there is no input {}, the model has {}", model_->file, index,
                             inputs_.size());
    }
    Input& input = inputs_[index];
    if (input.tensor != nullptr && std::ranges::equal(input.shape, shape)) return input.data;
    const LibraryAllocations scope;
    SL_RETURN_IF_ERROR(BindInput(index, shape));
    return input.data;
  }

  absl::StatusOr<std::span<const TensorView>> Run() override {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i].tensor == nullptr) {
        return InvalidArgument("{}: input {} has a dynamic shape and was not given", model_->file,
                               ToString(model_->inputs[i]));
      }
    }
    const LibraryAllocations scope;
    if (const ov_status_e ran = api_.ov_infer_request_infer(request_.get());
        ran != ov_status_e::OK) {
      return Internal("{}: OpenVINO failed on {}: {}", model_->file, InputShapes(),
                      OpenVinoWords(api_, ran));
    }
    for (size_t i = 0; i < views_.size(); ++i) SL_RETURN_IF_ERROR(ReadOutput(i));
    return std::span<const TensorView>(views_);
  }

 private:
  struct Input {
    AlignedBuffer memory;
    void* data = nullptr;
    std::vector<int64_t> shape;
    ov_tensor_t* tensor = nullptr;  // over `memory`; null = not bound
  };

  void Free(Input& input) {
    if (input.tensor != nullptr) api_.ov_tensor_free(input.tensor);
    input.tensor = nullptr;
  }

  absl::Status BindInput(size_t index, std::span<const int64_t> shape) {
    const TensorInfo& info = model_->inputs[index];
    if (!TakesShape(info.shape, shape)) {
      return InvalidArgument("{}: input {} cannot take the shape {}", model_->file, ToString(info),
                             ShapeText(shape));
    }
    if (model_->largest_batch > 0 && !shape.empty() && info.shape[0] == -1 &&
        shape[0] > model_->largest_batch) {
      return InvalidArgument("{}: a batch of {} was not prepared for, the largest is {}",
                             model_->file, shape[0], model_->largest_batch);
    }
    const auto bytes = TensorBytes(info.dtype, shape);
    if (!bytes) {
      return InvalidArgument("{}: input {} with shape {} is empty or beyond 4 GiB", model_->file,
                             ToString(info), ShapeText(shape));
    }
    Input& input = inputs_[index];
    Free(input);
    input.data = input.memory.Reserve(*bytes);
    if (input.data == nullptr) {
      return ResourceExhausted("{}: no memory for {} bytes of input", model_->file, *bytes);
    }
    input.shape.assign(shape.begin(), shape.end());
    // The library copies the shape.
    const ov_shape_t wanted{static_cast<int64_t>(input.shape.size()), input.shape.data()};
    ov_tensor_t* tensor = nullptr;
    ov_status_e status =
        api_.ov_tensor_create_from_host_ptr(ToOpenVino(info.dtype), wanted, input.data, &tensor);
    if (status == ov_status_e::OK) {
      status = api_.ov_infer_request_set_input_tensor_by_index(request_.get(), index, tensor);
    }
    if (status != ov_status_e::OK) {
      if (tensor != nullptr) api_.ov_tensor_free(tensor);
      return InvalidArgument("{}: input {} refuses the shape {}: {}", model_->file, ToString(info),
                             ShapeText(shape), OpenVinoWords(api_, status));
    }
    input.tensor = tensor;
    return absl::OkStatus();
  }

  // The memory of an output may be another one after each run.
  absl::Status ReadOutput(size_t index) {
    TensorView& view = views_[index];
    ov_tensor_t* tensor = nullptr;
    ov_status_e status =
        api_.ov_infer_request_get_output_tensor_by_index(request_.get(), index, &tensor);
    outputs_[index].reset(tensor);
    ov_shape_t shape{};
    if (status == ov_status_e::OK) status = api_.ov_tensor_get_shape(tensor, &shape);
    if (status == ov_status_e::OK) {
      view.shape.assign(shape.dims, shape.dims + shape.rank);
      api_.ov_shape_free(&shape);
      void* data = nullptr;
      status = api_.ov_tensor_data(tensor, &data);
      view.data = data;
      // Nothing was found: some releases call that an error of the address.
      if (view.elements() == 0) status = ov_status_e::OK;
    }
    ov_element_type_e element = ov_element_type_e::DYNAMIC;
    if (status == ov_status_e::OK) status = api_.ov_tensor_get_element_type(tensor, &element);
    if (status != ov_status_e::OK) {
      return Internal("{}: output {} cannot be read: {}", model_->file,
                      ToString(model_->outputs[index]), OpenVinoWords(api_, status));
    }
    view.dtype = FromOpenVino(element);
    return absl::OkStatus();
  }

  std::string InputShapes() const {
    std::string text;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (i > 0) text += ", ";
      text += model_->inputs[i].name + ShapeText(inputs_[i].shape);
    }
    return text;
  }

  const std::shared_ptr<const OpenVinoModel> model_;
  const OpenVinoApi& api_;
  OpenVinoOwned<ov_infer_request_t> request_;
  std::vector<Input> inputs_;
  std::vector<OpenVinoOwned<ov_tensor_t>> outputs_;  // of the last run
  std::vector<TensorView> views_;
};

}  // namespace

DataType FromOpenVino(ov_element_type_e element) {
  switch (element) {
    case ov_element_type_e::F32:
      return DataType::kFloat32;
    case ov_element_type_e::F16:
      return DataType::kFloat16;
    case ov_element_type_e::U8:
      return DataType::kUint8;
    case ov_element_type_e::I64:
      return DataType::kInt64;
    case ov_element_type_e::I32:
      return DataType::kInt32;
    case ov_element_type_e::BOOLEAN:
      return DataType::kBool;
    default:
      return DataType::kOther;
  }
}

ov_element_type_e ToOpenVino(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return ov_element_type_e::F32;
    case DataType::kFloat16:
      return ov_element_type_e::F16;
    case DataType::kUint8:
      return ov_element_type_e::U8;
    case DataType::kInt64:
      return ov_element_type_e::I64;
    case DataType::kInt32:
      return ov_element_type_e::I32;
    case DataType::kBool:
      return ov_element_type_e::BOOLEAN;
    default:
      return ov_element_type_e::DYNAMIC;
  }
}

absl::StatusOr<std::unique_ptr<InferenceSession>> MakeOpenVinoSession(
    std::shared_ptr<const OpenVinoModel> model) {
  const LibraryAllocations scope;
  const OpenVinoApi& api = *model->api;
  ov_infer_request_t* request = nullptr;
  const ov_status_e status =
      api.ov_compiled_model_create_infer_request(model->compiled.get(), &request);
  if (status != ov_status_e::OK) {
    return Internal("{}: OpenVINO makes no request: {}", model->file, OpenVinoWords(api, status));
  }
  auto session = std::make_unique<OpenVinoSession>(
      std::move(model), OpenVinoOwned<ov_infer_request_t>(request, api.ov_infer_request_free));
  SL_RETURN_IF_ERROR(session->Open());
  return std::unique_ptr<InferenceSession>(std::move(session));
}

}  // namespace sightline
