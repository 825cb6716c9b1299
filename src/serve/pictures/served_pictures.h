// Pictures for the models of a repository: finds the model, opens its detectors when they are first needed,
// and follows it when it is loaded anew or unloaded.
//
// Detectors are a second set of a model's sessions: they are opened by the first picture (or when the model
// is loaded, where its settings say so), and requests wait meanwhile. Where the replaced version of a model
// has them, the new one gets them before it takes over.
//
// Threads: safe; detectors are opened on the thread "pictures", or "models" while a model is loaded. Bounds:
// so many requests wait for detectors as the model's queue takes.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "detect/detector_factory.h"
#include "serve/inference/inference_service.h"
#include "serve/pictures/picture_model.h"
#include "serve/pictures/picture_service.h"

namespace sightline::serve {

// Makes parts of model files by detect/detector_factory.h. `backend` and `trial` as they are needed for a
// file and the backend that was wished for it ("" = the one that suits it).
struct DetectorSources {
  std::function<absl::StatusOr<InferenceBackend*>(const std::string& wanted,
                                                  const std::string& file)>
      backend;
  std::function<ModelTrial(const std::string& wanted)> trial = {};
};
PictureOpener OpenerOfFiles(DetectorSources sources);

class ServedPictures final : public PictureService {
 public:
  // Before anything is loaded by `service`, which outlives it. ResourceExhausted without a thread.
  static absl::StatusOr<std::unique_ptr<ServedPictures>> Create(InferenceService& service,
                                                                PictureOpener opener);
  ~ServedPictures() override;  // Stop()s

  void Answer(PictureRequest&& request, PictureDone done) override;
  absl::StatusOr<PictureModelId> Identify(std::string_view model,
                                          std::string_view version) const override;

  // Requests that wait for detectors are refused, and later ones that would. Models go on with what they
  // have until the repository stops them. Idempotent.
  void Stop() EXCLUDES(mutex_);

 private:
  struct Opening {
    std::shared_ptr<ServedModel> model;
    std::vector<std::unique_ptr<PictureCall>> calls;
  };

  ServedPictures(InferenceService& service, PictureOpener opener)
      : repository_(service.repository()), opener_(std::move(opener)) {}
  // `refused_by`: the model that is not asked again.
  void Dispatch(std::unique_ptr<PictureCall> call, ServedModel* refused_by);
  // Takes the call to wait with, or leaves it with the error.
  absl::Status Wait(const std::shared_ptr<ServedModel>& model, std::unique_ptr<PictureCall>& call)
      EXCLUDES(mutex_);
  absl::Status BeforeServed(ServedModel& fresh, const ServedModel* replaced) const;
  void Loop() EXCLUDES(mutex_);

  ModelRepository& repository_;
  const PictureOpener opener_;
  Mutex mutex_;
  CondVar work_;
  std::deque<Opening> openings_ GUARDED_BY(mutex_);  // the first is being opened
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace sightline::serve
