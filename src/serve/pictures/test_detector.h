// A detector for the tests of pictures: one box over the middle of every picture, and what it was told.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "media/image_codec.h"
#include "serve/inference/test_backend.h"
#include "serve/pictures/picture_ensemble.h"
#include "serve/pictures/served_pictures.h"

namespace sightline::serve::test {

struct DetectorState {
  std::mutex mutex;
  std::condition_variable changed;
  bool closed = false;  // nobody gets through Detect()
  int inside = 0;
  std::atomic<int> opened{0};
  std::atomic<int> last_width{0};  // of the picture that it saw
  std::atomic<bool> fails{false};
  std::atomic<bool> factory_fails{false};
  // Of detectors that are opened from now on; set while none is being opened.
  std::vector<std::string> labels = {"cat", "dog"};
  float confidence = 0.5f;  // its own; what it finds has 0.9 and 0.3

  void Close() { Set(true); }
  void Open() { Set(false); }
  void WaitForRun() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return inside > 0; });
  }
  void Pass() {
    std::unique_lock lock(mutex);
    ++inside;
    changed.notify_all();
    changed.wait(lock, [this] { return !closed; });
    --inside;
  }

 private:
  void Set(bool value) {
    const std::lock_guard lock(mutex);
    closed = value;
    changed.notify_all();
  }
};

class MiddleDetector final : public Detector {
 public:
  explicit MiddleDetector(std::shared_ptr<DetectorState> state) : state_(std::move(state)) {
    info_.name = "middle";
    info_.labels = std::make_shared<LabelSet>(LabelSet{state_->labels});
    info_.identity = {1, 2};
  }
  const DetectorInfo& info() const override { return info_; }
  void Detect(std::span<DetectJob> jobs) override {
    for (DetectJob& job : jobs) {
      const ImageView& image = job.frame->image;
      job.result->ClearResults();
      if (image.width != 64) state_->Pass();  // but the blank picture at the beginning
      state_->last_width = image.width;
      if (state_->fails) {
        job.status = Internal("the model is out of order");
        continue;
      }
      const auto w = static_cast<float>(image.width), h = static_cast<float>(image.height);
      const float least = job.confidence < 0 ? state_->confidence : job.confidence;
      const std::pair<float, int32_t> found[] = {{0.9f, 1}, {0.3f, 0}};
      for (const auto& [confidence, class_id] : found) {
        if (confidence < least) continue;
        job.result->items.push_back({{w / 4, h / 4, w * 3 / 4, h * 3 / 4}, confidence, class_id});
      }
    }
  }

 private:
  const std::shared_ptr<DetectorState> state_;
  DetectorInfo info_;
};

inline PictureOpener OpenerOf(std::shared_ptr<DetectorState> state, PictureTasks tasks,
                              int input_side) {
  return [=](const ServedModel&, int) -> absl::StatusOr<PictureParts> {
    if (state->factory_fails) return InvalidArgument("nobody knows this model");
    PictureParts parts;
    parts.factory = [state]() -> absl::StatusOr<std::unique_ptr<Detector>> {
      ++state->opened;
      return std::make_unique<MiddleDetector>(state);
    };
    parts.tasks = tasks;
    parts.input.width = parts.input.height = input_side;
    return parts;
  };
}

// A grey picture of that size.
inline std::string JpegOf(int width, int height) {
  const std::vector<uint8_t> bgr(static_cast<size_t>(width) * height * 3, 128);
  const ImageView view{.format = PixelFormat::kBgr24,
                       .width = width,
                       .height = height,
                       .planes = {bgr.data(), nullptr, nullptr},
                       .strides = {3 * width, 0, 0}};
  const std::vector<uint8_t> bytes = *EncodeJpeg(view);
  return {bytes.begin(), bytes.end()};
}

// The model "double" of test_backend.h, and pictures beside its tensors.
class PictureWorld {
 public:
  explicit PictureWorld(const std::string& test) {
    folder_ = std::filesystem::temp_directory_path() /
              ("sightline-pictures-" + std::to_string(getpid()) + "-" + test);
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "double.onnx") << "not looked at by this backend";
    settings.instances = 1;
  }
  ~PictureWorld() {
    detector->Open();
    if (pictures) pictures->Stop();
    if (service) service->Stop();
    std::filesystem::remove_all(folder_);
  }
  absl::Status Start(PictureTasks tasks = {PictureTask::kDetect}, int input_side = 100) {
    InferenceServiceOptions options;
    options.models.store = ModelStore((folder_ / "store").string());
    options.models.backend = [this](const std::string&, const std::string&) {
      return absl::StatusOr<InferenceBackend*>(&backend);
    };
    options.choices.push_back({.reference = (folder_ / "double.onnx").string(),
                               .all_versions = false,
                               .backend = "",
                               .settings = settings});
    SL_ASSIGN_OR_RETURN(service, InferenceService::Create(std::move(options)));
    SL_ASSIGN_OR_RETURN(pictures,
                        ServedPictures::Create(*service, OpenerOf(detector, tasks, input_side)));
    AddEnsembles();
    std::promise<absl::Status> loaded;
    service->Start([&](const absl::Status& status) { loaded.set_value(status); });
    return loaded.get_future().get();
  }
  absl::Status Reload() {
    std::promise<absl::Status> done;
    service->repository().Load("double", [&](const absl::Status& s) { done.set_value(s); });
    return done.get_future().get();
  }
  absl::Status Unload() {
    std::promise<absl::Status> done;
    service->repository().Unload("double", [&](const absl::Status& s) { done.set_value(s); });
    return done.get_future().get();
  }
  std::future<absl::StatusOr<PictureAnswer>> Ask(PictureRequest request, std::string bytes) {
    const auto kept = std::make_shared<const std::string>(std::move(bytes));
    request.bytes = *kept;
    request.backing = kept;
    if (request.model.empty()) request.model = "double";
    auto promise = std::make_shared<std::promise<absl::StatusOr<PictureAnswer>>>();
    auto answer = promise->get_future();
    pictures->Answer(std::move(request), [promise](absl::StatusOr<PictureAnswer>&& result) {
      promise->set_value(std::move(result));
    });
    return answer;
  }
  void AddEnsembles() { AddPictureEnsembles(*pictures, *service); }

  std::shared_ptr<DetectorState> detector = std::make_shared<DetectorState>();
  std::shared_ptr<TestModelState> tensors = std::make_shared<TestModelState>();
  TestBackend backend{tensors};
  ModelSettings settings;
  std::unique_ptr<InferenceService> service;
  std::unique_ptr<ServedPictures> pictures;

 private:
  std::filesystem::path folder_;
};

}  // namespace sightline::serve::test
