// Fitting a model to good pictures: what a model of the family `padim` needs before it can say what
// is unlike them. `sightline models fit` does it.
#pragma once

#include <memory>
#include <string_view>

#include "base/status.h"
#include "detect/anomaly_statistics.h"
#include "infer/backend.h"
#include "types/frame.h"
#include "types/model_spec.h"

namespace sightline {

inline constexpr std::string_view kFittedFamily = "padim";

// Whether the model is of that family and has no statistics.
bool NeedsFitting(const ModelSpec& spec);

// Shows good pictures to a model and keeps what its features are like. Threads: one.
class AnomalyFitter {
 public:
  // InvalidArgument for models of other families, and for what the session or preprocessor refuse.
  static absl::StatusOr<std::unique_ptr<AnomalyFitter>> Open(const ModelSpec& spec,
                                                             InferenceBackend& backend,
                                                             int threads);
  virtual ~AnomalyFitter() = default;

  // One run of the model. InvalidArgument for a picture that no tensor can be made of; DataLoss for
  // outputs that are no features, or of another size than before.
  virtual absl::Status Add(const ImageView& picture) = 0;
  virtual int pictures() const = 0;
  // As GaussianFit::Finish.
  virtual absl::StatusOr<GaussianStatistics> Finish() const = 0;
};

}  // namespace sightline
