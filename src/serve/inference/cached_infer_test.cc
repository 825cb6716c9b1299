// Inference through the result cache: what hits, what never may, and what is counted.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <thread>

#include "serve/cache/memory_store.h"
#include "serve/inference/inference_service.h"
#include "serve/inference/test_backend.h"

namespace sightline::serve {
namespace {

using Answer = absl::StatusOr<InferResponse>;

// A model file holds a number, and the model multiplies by it.
class FactorBackend final : public InferenceBackend {
 public:
  std::string_view name() const override { return "factor"; }
  std::string version() const override { return "1"; }
  std::vector<std::string> providers() const override { return {"cpu"}; }
  absl::StatusOr<std::unique_ptr<InferenceSession>> Open(const SessionOptions& options) override {
    auto state = std::make_shared<TestModelState>();
    if (std::ifstream file(options.model_file); !(file >> state->factor)) {
      return InvalidArgument("no number in the file");
    }
    const std::lock_guard lock(mutex_);
    states_.push_back(state);
    return std::make_unique<TestSession>(state);
  }
  // Of all sessions; the runs at their loading included.
  size_t runs() {
    const std::lock_guard lock(mutex_);
    size_t runs = 0;
    for (const auto& state : states_) {
      const std::lock_guard inner(state->mutex);
      runs += state->rows.size();
    }
    return runs;
  }
  TestModelState& newest() {
    const std::lock_guard lock(mutex_);
    return *states_.back();
  }
  void OpenAll() {
    const std::lock_guard lock(mutex_);
    for (const auto& state : states_) state->Open();
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<TestModelState>> states_;
};

// A service with the folder of versions "m".
class Server {
 public:
  explicit Server(CacheKind kind, ModelCaches::MakeStore store = {}) : store_(std::move(store)) {
    static std::atomic<int> next{0};
    folder_ = std::filesystem::temp_directory_path() /
              ("sightline-cached-" + std::to_string(getpid()) + "-" + std::to_string(next++));
    settings_.instances = 1;
    settings_.max_delay_us = 0;
    settings_.cache.kind = kind;
  }
  ~Server() {
    backend_.OpenAll();
    service_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Write(int version, float factor) {
    const auto folder = folder_ / "m" / std::to_string(version);
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "model.onnx") << factor;
  }
  absl::Status Start() {
    InferenceServiceOptions options;
    options.shared_memory = true;
    options.cache_store = store_;
    options.models.store = ModelStore((folder_ / "store").string());
    options.models.backend = [this](const std::string&, const std::string&) {
      return absl::StatusOr<InferenceBackend*>(&backend_);
    };
    options.choices.push_back({.reference = (folder_ / "m").string(),
                               .all_versions = true,
                               .backend = "",
                               .settings = settings_});
    SL_ASSIGN_OR_RETURN(service_, InferenceService::Create(std::move(options)));
    return Wait([&](ModelRepository::LoadDone done) { service_->Start(std::move(done)); });
  }
  absl::Status Load() {
    return Wait([&](auto done) { service_->repository().Load("m", std::move(done)); });
  }
  absl::Status Unload() {
    return Wait([&](auto done) { service_->repository().Unload("m", std::move(done)); });
  }

  static InferRequest Request(float x, std::string version = "") {
    InferRequest request;
    request.model = "m";
    request.version = std::move(version);
    InferInput& input = request.inputs.emplace_back();
    input.name = "x";
    input.dtype = DataType::kFloat32;
    input.shape = {1, 2};
    const float values[2] = {x, x + 1};
    input.is_owned = true;
    input.owned.assign(reinterpret_cast<const char*>(values), sizeof values);
    return request;
  }
  std::future<Answer> Ask(InferRequest request) {
    auto promise = std::make_shared<std::promise<Answer>>();
    std::future<Answer> answer = promise->get_future();
    service_->Infer(std::move(request),
                    [promise](Answer&& result) { promise->set_value(std::move(result)); });
    return answer;
  }
  // The first value of y; NaN for an error.
  float Value(const Answer& answer) {
    float value = std::nanf("");
    if (answer.ok() && answer->outputs.at(0).bytes.size() == 2 * sizeof(float)) {
      std::memcpy(&value, answer->outputs[0].bytes.data(), sizeof value);
    }
    return value;
  }
  ModelCounts Counts() { return (*service_->repository().Find("m", ""))->statistics().Counts(); }

  FactorBackend& backend() { return backend_; }
  InferenceService& service() { return *service_; }
  ModelSettings& settings() { return settings_; }

 private:
  template <typename Begin>
  static absl::Status Wait(Begin begin) {
    std::promise<absl::Status> done;
    begin([&](const absl::Status& status) { done.set_value(status); });
    return done.get_future().get();
  }

  const ModelCaches::MakeStore store_;
  std::filesystem::path folder_;
  FactorBackend backend_;
  ModelSettings settings_;
  std::unique_ptr<InferenceService> service_;
};

TEST(CachedInfer, TheSameIsComputedOnce) {
  Server server(CacheKind::kExact);
  server.Write(1, 2);
  ASSERT_TRUE(server.Start().ok());
  const size_t runs = server.backend().runs();
  for (int i = 0; i < 3; ++i) {
    InferRequest request = Server::Request(5);
    request.id = "id " + std::to_string(i);
    const Answer answer = server.Ask(std::move(request)).get();
    EXPECT_EQ(server.Value(answer), 10);
    EXPECT_EQ(answer->id, "id " + std::to_string(i));
    EXPECT_EQ(answer->version, "1");
    EXPECT_EQ(answer->outputs[0].shape, (std::vector<int64_t>{1, 2}));
  }
  EXPECT_EQ(server.Value(server.Ask(Server::Request(6)).get()), 12);
  EXPECT_EQ(server.backend().runs(), runs + 2);
  const ModelCounts counts = server.Counts();
  EXPECT_EQ(counts.success.count, 4u);
  EXPECT_EQ(counts.inferences, 2u) << "does not include cached requests";
  EXPECT_EQ(counts.cache_hit.count, 2u);
  EXPECT_EQ(counts.cache_miss.count, 2u);
}

TEST(CachedInfer, IsOffUnlessAModelSaysSo) {
  Server server(CacheKind::kOff);
  server.Write(1, 2);
  ASSERT_TRUE(server.Start().ok());
  const size_t runs = server.backend().runs();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(server.Value(server.Ask(Server::Request(5)).get()), 10);
  EXPECT_EQ(server.backend().runs(), runs + 3);
  EXPECT_EQ(server.Counts().cache_miss.count, 0u);
}

TEST(CachedInfer, AStampedeRunsOnceAndAFailureIsNotKept) {
  Server server(CacheKind::kExact);
  server.Write(1, 2);
  ASSERT_TRUE(server.Start().ok());
  TestModelState& state = server.backend().newest();
  state.rows.clear();
  state.Close();
  std::vector<std::future<Answer>> answers, poisoned;
  for (int i = 0; i < 20; ++i) answers.push_back(server.Ask(Server::Request(5)));
  state.WaitForRuns(1);
  for (int i = 0; i < 3; ++i) {
    poisoned.push_back(server.Ask(Server::Request(TestModelState::kPoison)));
  }
  state.Open();
  for (auto& answer : answers) EXPECT_EQ(server.Value(answer.get()), 10);
  for (auto& answer : poisoned) EXPECT_TRUE(absl::IsInternal(answer.get().status()));
  EXPECT_EQ(state.rows.size(), 2u) << "one for all twenty, one that failed";
  EXPECT_TRUE(
      absl::IsInternal(server.Ask(Server::Request(TestModelState::kPoison)).get().status()));
  EXPECT_EQ(state.rows.size(), 3u);
  const ModelCounts counts = server.Counts();
  EXPECT_EQ(counts.success.count, 20u);
  EXPECT_EQ(counts.cache_hit.count, 19u);
  EXPECT_EQ(counts.fail.count, 4u);
}

// The first one is being computed and its model does not go on; the second has a time.
TEST(CachedInfer, WhoWaitsIsNotHeldBeyondItsTimeout) {
  Server server(CacheKind::kExact);
  server.Write(1, 2);
  ASSERT_TRUE(server.Start().ok());
  TestModelState& state = server.backend().newest();
  state.Close();
  auto first = server.Ask(Server::Request(5));
  state.WaitForRuns(1);
  InferRequest hurried = Server::Request(5);
  hurried.timeout_us = 1000;
  EXPECT_TRUE(absl::IsDeadlineExceeded(server.Ask(std::move(hurried)).get().status()));
  state.Open();
  EXPECT_EQ(server.Value(first.get()), 10);
}

TEST(CachedInfer, OutputsInSharedMemoryAreWrittenForEachCaller) {
  Server server(CacheKind::kExact);
  server.Write(1, 2);
  ASSERT_TRUE(server.Start().ok());
  const std::string key = "/sightline-cached-test-" + std::to_string(getpid());
  const int object = shm_open(key.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  ASSERT_GE(object, 0);
  ASSERT_EQ(ftruncate(object, 4096), 0);
  shm_unlink(key.c_str());
  // Unlinked, but open: by its number.
  const auto region = std::make_shared<const SharedRegion>(dup(object), key, 0, 4096);
  const auto ask = [&](size_t at, size_t room) {
    InferRequest request = Server::Request(5);
    request.outputs.push_back({"y", 0, {region, "r", at, room}});
    return server.Ask(std::move(request)).get();
  };
  ASSERT_TRUE(ask(0, 64).ok());
  const Answer hit = ask(1024, 64);
  ASSERT_TRUE(hit.ok()) << hit.status();
  EXPECT_TRUE(hit->outputs[0].bytes.empty());
  EXPECT_EQ(hit->outputs[0].shared.bytes, 8u);
  for (const off_t at : {0, 1024}) {
    float values[2] = {};
    ASSERT_EQ(pread(object, values, sizeof values, at), static_cast<ssize_t>(sizeof values));
    EXPECT_EQ(values[0], 10);
    EXPECT_EQ(values[1], 12);
  }
  EXPECT_EQ(server.Counts().cache_hit.count, 1u);
  EXPECT_TRUE(absl::IsInvalidArgument(ask(0, 7).status())) << "too little room";
  EXPECT_EQ(server.Counts().fail.count, 1u);

  // Inputs there are those of the moment at which they were asked about.
  const float values[2] = {5, 6};
  ASSERT_EQ(pwrite(object, values, sizeof values, 2048), static_cast<ssize_t>(sizeof values));
  InferRequest request = Server::Request(0);
  request.outputs.push_back({"y", 0, {}});
  request.inputs[0].is_owned = false;
  request.inputs[0].shared = {region, "r", 2048, 8};
  EXPECT_EQ(server.Value(server.Ask(std::move(request)).get()), 10);
  EXPECT_EQ(server.Counts().cache_hit.count, 2u) << "the same bytes, wherever they lie";
  close(object);
}

TEST(CachedInfer, RequestsThatDoNotFitAreRefusedAsEver) {
  Server server(CacheKind::kExact);
  server.Write(1, 2);
  ASSERT_TRUE(server.Start().ok());
  InferRequest request = Server::Request(5);
  request.inputs[0].shape = {1, 3};
  EXPECT_TRUE(absl::IsInvalidArgument(server.Ask(std::move(request)).get().status()));
  request = Server::Request(5);
  request.outputs.push_back({"z", 0, {}});
  EXPECT_TRUE(absl::IsInvalidArgument(server.Ask(std::move(request)).get().status()));
  EXPECT_EQ(server.Counts().fail.count, 2u);
  EXPECT_EQ(server.Counts().cache_miss.count, 0u);
}

// A store that others write to.
class ForgedStore final : public CacheStore {
 public:
  CachedBytes FindNow(const CacheKey&) override {
    return std::make_shared<const std::string>("not what was put here");
  }
  void Find(const CacheKey& key, Found found) override { found(FindNow(key)); }
  void Put(const CacheKey&, CachedBytes) override {}
  void Erase(const CacheKey&) override {}
  StoreCounts Counts() const override { return {}; }
};

TEST(CachedInfer, DamagedValuesAreComputedAnew) {
  Server server(CacheKind::kExact,
                [](const CacheSettings&) { return std::make_shared<ForgedStore>(); });
  server.Write(1, 2);
  ASSERT_TRUE(server.Start().ok());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(server.Value(server.Ask(Server::Request(5)).get()), 10);
}

// Whatever is loaded, rewritten, unloaded and asked for in whatever order: an answer is that of the model
// that is loaded, of the version that was asked for, of these inputs and outputs.
RC_GTEST_PROP(CachedInferLaws, NoAnswerIsOfAnotherModelOrOtherParameters, ()) {
  Server server(CacheKind::kExact);
  std::map<int, float> on_disk, loaded;
  for (int version = 1; version <= 2; ++version) {
    on_disk[version] = static_cast<float>(10 * version);
    server.Write(version, on_disk[version]);
  }
  RC_ASSERT(server.Start().ok());
  loaded = on_disk;
  const int steps = *rc::gen::inRange(5, 40);
  for (int step = 0; step < steps; ++step) {
    const int what = *rc::gen::inRange(0, 10);
    if (what == 0) {  // other content under the same version, which is loaded while others ask
      const int version = *rc::gen::inRange(1, 3);
      on_disk[version] = static_cast<float>(*rc::gen::inRange(2, 6));
      server.Write(version, on_disk[version]);
      const bool was_loaded = !loaded.empty();
      std::atomic<bool> stop{false};
      std::atomic<int> wrong{0};
      std::thread asking([&] {
        for (int i = 0; !stop; ++i) {
          const auto x = static_cast<float>(i % 3);
          const Answer answer = server.Ask(Server::Request(x + 1, std::to_string(version))).get();
          if (!answer.ok()) continue;  // between two of them
          const float y = server.Value(answer);
          const bool old_one = was_loaded && y == loaded.at(version) * (x + 1);
          if (!old_one && y != on_disk.at(version) * (x + 1)) ++wrong;
        }
      });
      const absl::Status status = server.Load();
      stop = true;
      asking.join();
      RC_ASSERT(status.ok());
      RC_ASSERT(wrong == 0);
      loaded = on_disk;
    } else if (what == 1) {
      RC_ASSERT(server.Unload().ok());
      loaded.clear();
    } else {
      const int version = *rc::gen::inRange(0, 3);  // 0: the newest
      const auto x = static_cast<float>(*rc::gen::inRange(1, 4));
      const int form = *rc::gen::inRange(0, 4);
      InferRequest request = Server::Request(x, version == 0 ? "" : std::to_string(version));
      if (form == 1) request.outputs.push_back({"y", 0, {}});
      if (form >= 2) request.outputs.push_back({"y", form - 1, {}});
      const Answer answer = server.Ask(std::move(request)).get();
      if (loaded.empty()) {
        RC_ASSERT(!answer.ok());
        continue;
      }
      RC_ASSERT(answer.ok());
      const int answered = version == 0 ? 2 : version;
      RC_ASSERT(answer->version == std::to_string(answered));
      const float factor = loaded.at(answered);
      const InferOutput& output = answer->outputs.at(0);
      if (form < 2) {
        RC_ASSERT(output.dtype == DataType::kFloat32);
        RC_ASSERT(server.Value(answer) == factor * x);
      } else {
        RC_ASSERT(output.dtype == DataType::kString);
        RC_ASSERT(output.shape == (std::vector<int64_t>{1, form - 1}));
        // "VALUE:INDEX" behind its length.
        RC_ASSERT(std::stof(output.bytes.substr(4)) == factor * (x + 1));
      }
    }
  }
}

}  // namespace
}  // namespace sightline::serve
