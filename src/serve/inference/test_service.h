// A service with the model "double" of test_backend.h, for tests and fuzz targets of both protocols.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "serve/inference/inference_service.h"
#include "serve/inference/test_backend.h"

namespace sightline::serve {

// Made or the program ends: there is nothing to test without it.
class TestService {
 public:
  // `name`: of its folder, which nobody else has.
  explicit TestService(const std::string& name, bool shared_memory = false,
                       const CacheSettings& cache = {})
      : folder_(std::filesystem::temp_directory_path() /
                ("sightline-" + name + "-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "double.onnx") << "not looked at by this backend";
    InferenceServiceOptions options;
    options.version = "test";
    options.shared_memory = shared_memory;
    options.models.store = ModelStore((folder_ / "store").string());
    options.models.backend = [this](const std::string&, const std::string&) {
      return absl::StatusOr<InferenceBackend*>(&backend_);
    };
    ServedModelChoice choice;
    choice.reference = (folder_ / "double.onnx").string();
    choice.settings.instances = 1;
    choice.settings.max_batch = 1 << 14;
    choice.settings.cache = cache;
    options.choices.push_back(choice);
    auto service = InferenceService::Create(std::move(options));
    if (!service.ok()) std::abort();
    service_ = *std::move(service);
  }
  ~TestService() {
    state_->Open();
    service_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  absl::Status Load() {
    std::promise<absl::Status> loaded;
    service_->Start([&](const absl::Status& status) { loaded.set_value(status); });
    return loaded.get_future().get();
  }
  // The answer of the model, whenever it comes.
  absl::StatusOr<InferResponse> Ask(InferRequest&& request) {
    std::promise<absl::StatusOr<InferResponse>> answer;
    service_->Infer(std::move(request), [&](absl::StatusOr<InferResponse>&& response) {
      answer.set_value(std::move(response));
    });
    return answer.get_future().get();
  }

  InferenceService& service() { return *service_; }
  TestModelState& state() { return *state_; }
  TestBackend& backend() { return backend_; }
  std::string folder() const { return folder_.string(); }

 private:
  const std::filesystem::path folder_;
  std::shared_ptr<TestModelState> state_ = std::make_shared<TestModelState>();
  TestBackend backend_{state_};
  std::unique_ptr<InferenceService> service_;
};

}  // namespace sightline::serve
