#include "detect/anomaly_fit.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "detect/heads/head.h"
#include "detect/neural_detector.h"
#include "vision/preprocess.h"

namespace sightline {
namespace {

class Fitter final : public AnomalyFitter {
 public:
  Fitter(const ModelSpec& spec, std::unique_ptr<InferenceSession> session,
         Preprocessor preprocessor, size_t input, size_t output)
      : spec_(spec),
        session_(std::move(session)),
        preprocessor_(std::move(preprocessor)),
        input_(input),
        output_(output) {}

  int pictures() const override { return fit_ ? fit_->pictures() : 0; }

  absl::Status Add(const ImageView& picture) override {
    const TensorRecipe& r = spec_.input;
    const int64_t batch = std::max(spec_.batch, 1);
    const std::array<int64_t, 4> shape = r.layout == TensorLayout::kNchw
                                             ? std::array<int64_t, 4>{batch, 3, r.height, r.width}
                                             : std::array<int64_t, 4>{batch, r.height, r.width, 3};
    SL_ASSIGN_OR_RETURN(void* const tensor, session_->InputBuffer(input_, shape));
    std::memset(tensor, 0, TensorBytes(r) * static_cast<size_t>(batch));
    SL_RETURN_IF_ERROR(preprocessor_.Run(picture, tensor, nullptr));
    SL_ASSIGN_OR_RETURN(const std::span<const TensorView> outputs, session_->Run());
    if (output_ >= outputs.size() || outputs[output_].dtype != DataType::kFloat32 ||
        outputs[output_].shape.size() != 4 || outputs[output_].elements() < 1) {
      return DataLoss("{}: the model gave no float32 [batch, depth, rows, columns]", spec_.name);
    }
    const TensorView& features = outputs[output_];
    const std::array<int64_t, 3> size = {features.shape[1], features.shape[2], features.shape[3]};
    if (!fit_) {
      SL_RETURN_IF_ERROR(WithContext(CheckStatisticsSize(size[0], size[1], size[2]), spec_.name));
      SL_ASSIGN_OR_RETURN(fit_,
                          GaussianFit::Create(static_cast<int>(size[0]), static_cast<int>(size[1]),
                                              static_cast<int>(size[2])));
      size_ = size;
    }
    if (size != size_) {
      return DataLoss("{}: the model gave features of another size than before", spec_.name);
    }
    return WithContext(fit_->Add(features.f32()), spec_.name);
  }

  absl::StatusOr<GaussianStatistics> Finish() const override {
    if (!fit_) return FailedPrecondition("no good picture was given");
    return fit_->Finish();
  }

 private:
  const ModelSpec spec_;
  const std::unique_ptr<InferenceSession> session_;
  Preprocessor preprocessor_;
  const size_t input_;
  const size_t output_;
  std::optional<GaussianFit> fit_;
  std::array<int64_t, 3> size_{};
};

}  // namespace

bool NeedsFitting(const ModelSpec& spec) {
  return spec.family == kFittedFamily && spec.companion_file.empty();
}

absl::StatusOr<std::unique_ptr<AnomalyFitter>> AnomalyFitter::Open(const ModelSpec& spec,
                                                                   InferenceBackend& backend,
                                                                   int threads) {
  if (spec.family != kFittedFamily) {
    return InvalidArgument("model {} is of family {}; only models of family {} are fitted",
                           spec.name, spec.family, kFittedFamily);
  }
  SessionOptions options;
  options.model_file = spec.file;
  options.intra_op_threads = threads;
  options.max_batch = std::max(spec.batch, 1);
  options.picture_shape = PictureShape(spec.input);
  options.picture_shape[0] = options.max_batch;
  SL_ASSIGN_OR_RETURN(auto session, backend.Open(options));
  SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant,
                      head_internal::MeantOutputs(spec, session->outputs(), 1));
  const auto inputs = session->inputs();
  const auto input = std::ranges::find(inputs, spec.input_name, &TensorInfo::name);
  if (input == inputs.end() || input->shape.size() != 4 || input->dtype != spec.input.dtype) {
    return InvalidArgument(
        "model {}: the file has no input \"{}\" of {} with four dimensions; its inputs are {}",
        spec.name, spec.input_name, ToString(spec.input.dtype), DescribeTensors(inputs));
  }
  SL_ASSIGN_OR_RETURN(Preprocessor preprocessor, Preprocessor::Create(spec.input));
  const auto index = static_cast<size_t>(input - inputs.begin());
  return std::make_unique<Fitter>(spec, std::move(session), std::move(preprocessor), index,
                                  meant[0]);
}

}  // namespace sightline
