#include "serve/inference/inference_service.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "base/test_clock.h"
#include "base/test_until.h"
#include "serve/inference/test_backend.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;

using Answer = absl::StatusOr<InferResponse>;

class InferenceServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("sightline-serve-" + std::to_string(getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "double.onnx") << "not looked at by this backend";
    settings_.instances = 1;
    settings_.max_delay_us = 0;
  }
  void TearDown() override {
    state_->Open();
    state_->OpenDoor();
    service_.reset();
    std::filesystem::remove_all(folder_);
  }

  absl::Status Start() {
    InferenceServiceOptions options;
    options.version = "test";
    options.shared_memory = true;
    options.models.store = ModelStore((folder_ / "store").string());
    options.models.clock = clock_;
    options.models.backend = [this](const std::string&, const std::string&) {
      return absl::StatusOr<InferenceBackend*>(&backend_);
    };
    options.choices.push_back({.reference = (folder_ / "double.onnx").string(),
                               .all_versions = false,
                               .backend = "",
                               .settings = settings_});
    auto made = InferenceService::Create(std::move(options));
    if (!made.ok()) return made.status();
    service_ = *std::move(made);
    std::promise<absl::Status> loaded;
    service_->Start([&](const absl::Status& status) { loaded.set_value(status); });
    return loaded.get_future().get();
  }

  static InferRequest Request(std::vector<float> values) {
    InferRequest request;
    request.model = "double";
    InferInput& input = request.inputs.emplace_back();
    input.name = "x";
    input.dtype = DataType::kFloat32;
    input.shape = {static_cast<int64_t>(values.size() / 2), 2};
    input.is_owned = true;
    input.owned.assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    return request;
  }
  std::future<Answer> Ask(InferRequest request) {
    auto promise = std::make_shared<std::promise<Answer>>();
    std::future<Answer> answer = promise->get_future();
    service_->Infer(std::move(request),
                    [promise](Answer&& result) { promise->set_value(std::move(result)); });
    return answer;
  }
  static std::vector<float> Values(const Answer& answer) {
    if (!answer.ok()) return {};
    const std::string& bytes = answer->outputs.at(0).bytes;
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  absl::Status Reload() {
    std::promise<absl::Status> done;
    service_->repository().Load("double", [&](const absl::Status& s) { done.set_value(s); });
    return done.get_future().get();
  }

  std::filesystem::path folder_;
  std::shared_ptr<TestModelState> state_ = std::make_shared<TestModelState>();
  TestBackend backend_{state_};
  ModelSettings settings_;
  MovedClock moved_clock_;
  const Clock* clock_ = &Clock::Real();
  std::unique_ptr<InferenceService> service_;
};

TEST_F(InferenceServiceTest, AnswersRowsAndKeepsTheirOrder) {
  ASSERT_TRUE(Start().ok());
  EXPECT_TRUE(service_->Ready());
  const Answer answer = Ask(Request({1, 2, 3, 4})).get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(Values(answer), (std::vector<float>{2, 4, 6, 8}));
  EXPECT_EQ(answer->outputs[0].shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(answer->version, "1");
}

TEST_F(InferenceServiceTest, RequestsShareARun) {
  ASSERT_TRUE(Start().ok());
  state_->rows.clear();
  state_->Close();
  std::vector<std::future<Answer>> answers;
  answers.push_back(Ask(Request({0, 0})));
  state_->WaitForRuns(1);
  for (float i = 1; i <= 3; ++i) answers.push_back(Ask(Request({i, i, i, i})));
  state_->Open();
  for (float i = 1; i <= 3; ++i) {
    EXPECT_EQ(Values(answers[static_cast<size_t>(i)].get()),
              (std::vector<float>{2 * i, 2 * i, 2 * i, 2 * i}));
  }
  EXPECT_EQ(state_->rows, (std::vector<size_t>{1, 6}));
  const auto model = service_->repository().Find("double", "");
  const ModelCounts counts = (*model)->statistics().Counts();
  EXPECT_EQ(counts.inferences, 7u);
  EXPECT_EQ(counts.executions, 2u);
  EXPECT_EQ(counts.success.count, 4u);
  EXPECT_EQ(counts.by_rows.at(6).compute_infer.count, 1u);
}

TEST_F(InferenceServiceTest, WhatRunsAloneIsReadWhereItLies) {
  state_->lends = true;
  ASSERT_TRUE(Start().ok());
  state_->rows.clear();
  state_->Close();
  std::vector<std::future<Answer>> answers;
  answers.push_back(Ask(Request({5, 6})));
  state_->WaitForRuns(1);
  for (float i = 1; i <= 2; ++i) answers.push_back(Ask(Request({i, i})));
  state_->Open();
  EXPECT_EQ(Values(answers[0].get()), (std::vector<float>{10, 12}));
  EXPECT_EQ(Values(answers[1].get()), (std::vector<float>{2, 2}));
  EXPECT_EQ(Values(answers[2].get()), (std::vector<float>{4, 4}));
  EXPECT_EQ(state_->rows, (std::vector<size_t>{1, 2}));
  EXPECT_EQ(state_->lent_rows, 1u) << "two that share a run are put behind each other";
  // One that spoils the run of both, which then run alone.
  state_->Close();
  answers.push_back(Ask(Request({7, 8})));
  state_->WaitForRuns(1);
  answers.push_back(Ask(Request({TestModelState::kPoison, 0})));
  answers.push_back(Ask(Request({3, 4})));
  state_->Open();
  EXPECT_EQ(Values(answers[3].get()), (std::vector<float>{14, 16}));
  EXPECT_FALSE(answers[4].get().ok());
  EXPECT_EQ(Values(answers[5].get()), (std::vector<float>{6, 8}));
  EXPECT_EQ(state_->lent_rows, 4u);
}

TEST_F(InferenceServiceTest, ARequestThatFailsSpoilsNoOther) {
  ASSERT_TRUE(Start().ok());
  state_->Close();
  std::vector<std::future<Answer>> answers;
  answers.push_back(Ask(Request({0, 0})));
  state_->WaitForRuns(1);
  answers.push_back(Ask(Request({1, 1})));
  answers.push_back(Ask(Request({TestModelState::kPoison, 1})));
  answers.push_back(Ask(Request({3, 3})));
  state_->Open();
  EXPECT_TRUE(answers[0].get().ok());
  EXPECT_EQ(Values(answers[1].get()), (std::vector<float>{2, 2}));
  EXPECT_EQ(answers[2].get().status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Values(answers[3].get()), (std::vector<float>{6, 6}));
}

TEST_F(InferenceServiceTest, ARequestWithoutMemorySpoilsNoOther) {
  ASSERT_TRUE(Start().ok());
  state_->Close();
  std::vector<std::future<Answer>> answers;
  answers.push_back(Ask(Request({0, 0})));
  state_->WaitForRuns(1);
  answers.push_back(Ask(Request({1, 1})));
  answers.push_back(Ask(Request({TestModelState::kNoMemory, 1})));
  state_->Open();
  EXPECT_TRUE(answers[0].get().ok());
  EXPECT_EQ(Values(answers[1].get()), (std::vector<float>{2, 2}));
  EXPECT_EQ(answers[2].get().status().code(), absl::StatusCode::kResourceExhausted);
}

// A region may be sparse: what is asked of it is more than there is memory.
TEST_F(InferenceServiceTest, SharedMemoryHasTheBoundOfABody) {
  constexpr size_t kSparseBytes = size_t{1} << 42;
  state_->strings = true;
  ASSERT_TRUE(Start().ok());
  const std::string key = "/sightline-inference-test-" + std::to_string(getpid());
  const int object = shm_open(key.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  ASSERT_GE(object, 0);
  const bool is_long = ftruncate(object, kSparseBytes) == 0;
  const char two_texts[] = {2, 0, 0, 0, 'a', 'b', 0, 0, 0, 0};
  const bool is_written = pwrite(object, two_texts, sizeof(two_texts), 0) == sizeof(two_texts);
  const absl::Status registered = service_->shared_memory().Register("r", key, 0, kSparseBytes);
  close(object);
  shm_unlink(key.c_str());
  ASSERT_TRUE(is_long && is_written);
  ASSERT_TRUE(registered.ok()) << registered;
  const auto ask = [&](size_t bytes) {
    InferRequest request;
    request.model = "double";
    InferInput& input = request.inputs.emplace_back();
    input.name = "x";
    input.dtype = DataType::kString;
    input.shape = {1, 2};
    input.shared = {*service_->shared_memory().Find("r"), "r", 0, bytes};
    return Ask(std::move(request)).get();
  };
  for (const size_t bytes : {kSparseBytes, kMaxRequestBytes + 1}) {
    const Answer refused = ask(bytes);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(MessageOf(refused.status())), HasSubstr("are possible"));
  }
  EXPECT_EQ(Values(ask(sizeof(two_texts))), (std::vector<float>{4, 0}));
}

TEST_F(InferenceServiceTest, SessionsAreOpenedForTheBatchesThatCome) {
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ(state_->opened_for, (std::vector<int>{kUsualMaxBatch}));
  settings_.max_batch = 5;
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ(state_->opened_for.back(), 5);
  settings_.max_batch = 0;
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ(state_->opened_for.back(), kAnyBatch);
  // Of a model whose rows turn out to depend on each other the first dimension may be any.
  state_->rows_mixed = true;
  settings_.max_batch = -1;
  settings_.instances = 2;
  state_->opened_for.clear();
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ(state_->opened_for, (std::vector<int>{kUsualMaxBatch, kAnyBatch, kAnyBatch}));
  EXPECT_TRUE(Ask(Request(std::vector<float>(2 * (kUsualMaxBatch + 1), 1))).get().ok());
}

TEST_F(InferenceServiceTest, RowsThatDependOnEachOtherALittleAreFound) {
  state_->rows_mixed = true;
  state_->factor = 1e-6f;  // all outputs are small, as probabilities of many classes are
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ((*service_->repository().Find("double", ""))->max_batch(), 0);
}

TEST_F(InferenceServiceTest, AFullQueueRefusesAtOnce) {
  settings_.queue = 2;
  settings_.max_wait_us = 0;
  ASSERT_TRUE(Start().ok());
  state_->Close();
  std::vector<std::future<Answer>> taken;
  taken.push_back(Ask(Request({0, 0})));
  state_->WaitForRuns(1);
  taken.push_back(Ask(Request({1, 1})));
  taken.push_back(Ask(Request({2, 2})));
  const Answer refused = Ask(Request({3, 3})).get();
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  state_->Open();
  for (auto& answer : taken) EXPECT_TRUE(answer.get().ok());
  const auto model = service_->repository().Find("double", "");
  EXPECT_EQ((*model)->statistics().Counts().fail.count, 1u);
}

// A queue that is full begins an overload: what is old goes, what is new waits for little, and when nobody
// is refused any more everyone may wait again.
TEST_F(InferenceServiceTest, AnOverloadKeepsTheQueueShort) {
  MovedClock& clock = moved_clock_;
  clock_ = &clock;
  settings_.queue = 3;
  settings_.max_batch = 1;
  ASSERT_TRUE(Start().ok());
  const auto model = *service_->repository().Find("double", "");
  const auto fill = [&](int64_t step_us) {
    state_->Close();
    std::vector<std::future<Answer>> taken;
    taken.push_back(Ask(Request({0, 0})));
    state_->WaitForRuns(1);
    for (int i = 0; i < 3; ++i) {
      clock.now_us += step_us;
      taken.push_back(Ask(Request({1, 1})));
    }
    return taken;
  };
  const auto refused = [](const Answer& answer) {
    return answer.status().code() == absl::StatusCode::kResourceExhausted;
  };
  // A run of 1 ms, so that something is known.
  state_->Close();
  std::future<Answer> first = Ask(Request({0, 0}));
  state_->WaitForRuns(1);
  clock.now_us += 1000;
  state_->Open();
  ASSERT_TRUE(first.get().ok());

  std::vector<std::future<Answer>> taken = fill(/*step_us=*/1500);
  EXPECT_FALSE(model->admission().IsOverloaded(clock.now_us));
  const Answer one_more = Ask(Request({3, 3})).get();
  EXPECT_TRUE(refused(one_more));
  EXPECT_GT(RetryAfterUsOf(one_more.status()), 0);
  EXPECT_TRUE(model->admission().IsOverloaded(clock.now_us));
  EXPECT_TRUE(refused(taken[1].get())) << "it has waited for 3 ms, and may for 2.5";
  EXPECT_EQ(model->admission().refused(), 2u);
  clock.now_us += 10'000;
  state_->Open();
  for (const size_t i : {0u, 2u, 3u}) EXPECT_TRUE(taken[i].get().ok()) << i;

  // 4 ms a request lately, and the runs were of 2.4 ms: 8 ms are too long.
  taken = fill(/*step_us=*/0);
  EXPECT_TRUE(refused(taken[2].get()));
  EXPECT_TRUE(refused(taken[3].get()));
  state_->Open();
  for (const size_t i : {0u, 1u}) EXPECT_TRUE(taken[i].get().ok()) << i;

  clock.now_us += Admission::kCalmUs;
  taken = fill(/*step_us=*/0);
  state_->Open();
  for (auto& answer : taken) EXPECT_TRUE(answer.get().ok());
}

TEST_F(InferenceServiceTest, ATimeoutThatPassesInTheQueueIsAnError) {
  ASSERT_TRUE(Start().ok());
  state_->Close();
  std::future<Answer> first = Ask(Request({0, 0}));
  state_->WaitForRuns(1);
  InferRequest late = Request({1, 1});
  late.timeout_us = 1;
  std::future<Answer> second = Ask(std::move(late));
  state_->Open();
  EXPECT_TRUE(first.get().ok());
  EXPECT_EQ(second.get().status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(InferenceServiceTest, ANewVersionTakesOverWithoutAFailedRequest) {
  ASSERT_TRUE(Start().ok());
  std::atomic<bool> stop{false};
  std::atomic<int> failed{0}, answered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back([&] {
      while (!stop) {
        const Answer answer = Ask(Request({1, 1})).get();
        ++(answer.ok() ? answered : failed);
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    const int before = answered;
    state_->factor = static_cast<float>(3 + i);
    EXPECT_TRUE(Reload().ok());
    EXPECT_EQ(Values(Ask(Request({1, 1})).get()), (std::vector<float>(2, state_->factor)));
    EXPECT_TRUE(Until([&] { return answered >= before + 10; }));
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
}

TEST_F(InferenceServiceTest, AReloadThatFailsLeavesTheOldOne) {
  ASSERT_TRUE(Start().ok());
  backend_.FailFromNowOn();
  EXPECT_THAT(std::string(MessageOf(Reload())), HasSubstr("this model is broken"));
  EXPECT_TRUE(service_->Ready());
  EXPECT_EQ(Values(Ask(Request({1, 1})).get()), (std::vector<float>{2, 2}));
}

TEST_F(InferenceServiceTest, NotReadyBeforeItIsLoadedNorWhenItFails) {
  backend_.FailFromNowOn();
  EXPECT_FALSE(Start().ok());
  EXPECT_FALSE(service_->Ready());
  EXPECT_EQ(Ask(Request({1, 1})).get().status().code(), absl::StatusCode::kUnavailable);
  const auto index = service_->repository().Index(false);
  ASSERT_EQ(index.size(), 1u);
  EXPECT_EQ(ToString(index[0].state), "UNAVAILABLE");
  EXPECT_THAT(index[0].reason, HasSubstr("broken"));
}

TEST_F(InferenceServiceTest, TheEndAnswersAllThatWasAccepted) {
  ASSERT_TRUE(Start().ok());
  state_->Close();
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 5; ++i) answers.push_back(Ask(Request({1, 1})));
  std::thread ending([&] { service_->Stop(); });
  EXPECT_TRUE(Until([&] { return !service_->Ready(); }));
  state_->Open();
  for (auto& answer : answers) {
    const Answer got = answer.get();  // what runs is computed, what waits is not any more
    EXPECT_TRUE(got.ok() || absl::IsCancelled(got.status())) << got.status();
  }
  ending.join();
  EXPECT_FALSE(Ask(Request({1, 1})).get().ok());
}

TEST_F(InferenceServiceTest, WhatNobodyWaitsForIsNotComputed) {
  ASSERT_TRUE(Start().ok());
  InferRequest request = Request({1, 1});
  request.gone = [] { return true; };
  EXPECT_TRUE(absl::IsCancelled(Ask(std::move(request)).get().status()));
  const ModelCounts counts = service_->repository().All()[0]->statistics().Counts();
  EXPECT_EQ(counts.executions, 0u);
  EXPECT_EQ(counts.fail.count, 1u);
}

TEST_F(InferenceServiceTest, UnloadedModelsAreNotWaitedFor) {
  ASSERT_TRUE(Start().ok());
  std::promise<absl::Status> done;
  service_->repository().Unload("double", [&](const absl::Status& s) { done.set_value(s); });
  EXPECT_TRUE(done.get_future().get().ok());
  EXPECT_TRUE(service_->Ready());
  EXPECT_EQ(Ask(Request({1, 1})).get().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(Reload().ok());
  EXPECT_TRUE(Ask(Request({1, 1})).get().ok());
}

TEST_F(InferenceServiceTest, UnloadedWhileItIsLoadedIsNotWaitedForEither) {
  ASSERT_TRUE(Start().ok());
  state_->CloseDoor();
  std::promise<absl::Status> loaded, unloaded;
  service_->repository().Load("double", [&](const absl::Status& s) { loaded.set_value(s); });
  state_->WaitForOpening();
  service_->repository().Unload("double", [&](const absl::Status& s) { unloaded.set_value(s); });
  state_->OpenDoor();
  EXPECT_TRUE(loaded.get_future().get().ok());
  EXPECT_TRUE(unloaded.get_future().get().ok());
  EXPECT_TRUE(service_->Ready());
  EXPECT_EQ(Ask(Request({1, 1})).get().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(InferenceServiceTest, TwoModelsOfOneNameAreRefused) {
  const auto made =
      ModelRepository::Create({}, {{.reference = "a=x.onnx"}, {.reference = "a=y.onnx"}});
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sightline::serve
