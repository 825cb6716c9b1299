#include "infer/backends/openvino/openvino_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <opencv2/imgproc.hpp>
#include <thread>

#include "infer/backends/openvino/openvino_library_internal.h"
#include "infer/backends/test_counted_allocations.h"

namespace sightline {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string TestModel(const std::string& name) {
  return SIGHTLINE_SOURCE_DIR "/tests/data/models/" + name + ".onnx";
}

class OpenVinoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto backend = OpenVinoBackend();
    if (!backend.ok()) GTEST_SKIP() << backend.status();
    backend_ = *backend;
  }
  std::unique_ptr<InferenceSession> Open(const std::string& name, int max_batch = 1) {
    auto session = backend_->Open({.model_file = TestModel(name), .max_batch = max_batch});
    EXPECT_TRUE(session.ok()) << session.status();
    return session.ok() ? std::move(*session) : nullptr;
  }
  static float* Floats(InferenceSession& session, size_t index, std::vector<int64_t> shape) {
    auto buffer = session.InputBuffer(index, shape);
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(*buffer) % 64, 0u);
    return static_cast<float*>(*buffer);
  }
  std::string Refusal(const SessionOptions& options) {
    const auto session = backend_->Open(options);
    EXPECT_FALSE(session.ok()) << options.model_file;
    return std::string(session.status().message());
  }
  InferenceBackend* backend_ = nullptr;
};

TEST_F(OpenVinoTest, SaysWhatItIs) {
  EXPECT_EQ(backend_->name(), "openvino");
  EXPECT_GE(std::atoi(backend_->version().c_str()), 2026);
  EXPECT_THAT(backend_->providers(), Contains("cpu"));
  EXPECT_TRUE(backend_->Reads(ModelFormat::kTflite));
}

TEST_F(OpenVinoTest, RunsAFixedModel) {
  const auto session = Open("conv");
  ASSERT_NE(session, nullptr);
  ASSERT_EQ(session->inputs().size(), 1u);
  EXPECT_EQ(ToString(session->inputs()[0]), "images float32[1,3,8,8]");
  EXPECT_EQ(ToString(session->outputs()[0]), "output float32[1,4,4,4]");
  for (int round = 0; round < 4; ++round) {
    float* in = Floats(*session, 0, {1, 3, 8, 8});
    std::fill_n(in, 3 * 8 * 8, static_cast<float>(round));
    const auto out = session->Run();
    ASSERT_TRUE(out.ok()) << out.status();
    ASSERT_EQ(out->size(), 1u);
    EXPECT_EQ((*out)[0].dtype, DataType::kFloat32);
    EXPECT_THAT((*out)[0].shape, ElementsAre(1, 4, 4, 4));
    // The sum of the third filter's weights is 27 * (0.67 - 0.5); bias 1.
    const float* third = (*out)[0].f32() + 2 * 16;
    EXPECT_NEAR(third[5], 1 + round * 27 * 0.17f, 1e-3);
  }
}

TEST_F(OpenVinoTest, RunAllocatesNothingOfOursAfterWarmUp) {
  for (const char* name : {"conv", "dynamic"}) {
    const auto session = Open(name);
    ASSERT_NE(session, nullptr);
    const std::vector<int64_t> shape = {1, 3, 8, 8};
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(session->InputBuffer(0, shape).ok());
      ASSERT_TRUE(session->Run().ok());
    }
    const int allocations = test::CountAllocations([&] {
      for (int i = 0; i < 10; ++i) {
        (void)session->InputBuffer(0, shape);
        (void)session->Run();
      }
    });
    EXPECT_EQ(allocations, 0) << name;
  }
}

TEST_F(OpenVinoTest, DynamicShapesChangeFromRunToRun) {
  const auto session = Open("dynamic", 7);
  ASSERT_NE(session, nullptr);
  EXPECT_EQ(ToString(session->inputs()[0]), "x float32[-1,3,-1,-1]");
  EXPECT_EQ(session->Run().status().code(), absl::StatusCode::kInvalidArgument);
  for (const int64_t n : {1, 4, 2, 4, 7, 1}) {
    float* in = Floats(*session, 0, {n, 3, n + 1, 2});
    const int64_t elements = n * 3 * (n + 1) * 2;
    for (int64_t i = 0; i < elements; ++i) in[i] = static_cast<float>(i);
    const auto out = session->Run();
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_EQ((*out)[0].shape[0], n);
  }
}

TEST_F(OpenVinoTest, ShapesThatTheModelCannotTakeAreRefused) {
  const auto session = Open("conv");
  ASSERT_NE(session, nullptr);
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{2, 3, 8, 8}, {1, 3, 8}, {1, 3, 8, 0}, {1, 3, 8, -1}, {}}) {
    EXPECT_EQ(session->InputBuffer(0, shape).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(session->InputBuffer(1, std::vector<int64_t>{1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(session->Run().ok());  // what was bound before still is
}

TEST_F(OpenVinoTest, FilesThatAreNoModelsAreRefusedInWords) {
  EXPECT_THAT(Refusal({.model_file = "/nowhere/a.onnx"}), HasSubstr("no model file"));
  EXPECT_THAT(Refusal({.model_file = "/tmp"}), HasSubstr("is not a file"));
  EXPECT_THAT(Refusal({.model_file = TestModel("external")}), HasSubstr("other files"));
  EXPECT_THAT(Refusal({.model_file = TestModel("conv"), .intra_op_threads = 0}),
              HasSubstr("threads"));
  EXPECT_THAT(Refusal({.model_file = TestModel("conv"), .providers = {"abacus"}}),
              HasSubstr("it has cpu"));
  EXPECT_THAT(Refusal({.model_file = TestModel("conv"), .providers = {"gpu", "cpu"}}),
              HasSubstr("one device"));
  const std::string file = ::testing::TempDir() + "/not_a_model.tflite";
  std::ofstream(file) << std::string("\x1c\0\0\0TFL3", 8) << std::string(2000, '\xff');
  EXPECT_THAT(Refusal({.model_file = file}), HasSubstr("cannot read it"));
  const std::string odd_name = ::testing::TempDir() + "/not_a_model.bin";
  std::filesystem::rename(file, odd_name);
  EXPECT_THAT(Refusal({.model_file = odd_name}), HasSubstr(".tflite"));
  std::filesystem::remove(odd_name);
}

TEST_F(OpenVinoTest, SessionsOfOneFileRunAtOnce) {
  constexpr int kSessions = 3;
  std::vector<std::unique_ptr<InferenceSession>> sessions;
  for (int i = 0; i < kSessions; ++i) {
    auto session =
        backend_->Open({.model_file = TestModel("conv"), .parallel_sessions = kSessions});
    ASSERT_TRUE(session.ok()) << session.status();
    sessions.push_back(*std::move(session));
  }
  std::vector<float> results(kSessions);
  std::vector<std::thread> threads;
  for (int i = 0; i < kSessions; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        float* in = Floats(*sessions[i], 0, {1, 3, 8, 8});
        std::fill_n(in, 3 * 8 * 8, static_cast<float>(i));
        const auto out = sessions[i]->Run();
        ASSERT_TRUE(out.ok()) << out.status();
        results[i] = (*out)[0].f32()[2 * 16 + 5];
        ASSERT_NEAR(results[i], 1 + i * 27 * 0.17f, 1e-3);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(OpenVinoLibrary, SaysWhereItLookedAndWhatToDo) {
  const auto none = LoadOpenVino({.chosen = "", .candidates = {"/nowhere/libopenvino_c.so"}});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("./dev setup"));
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("/nowhere/libopenvino_c.so"));
  const auto chosen = LoadOpenVino({.chosen = "/nowhere/own.so", .candidates = {}});
  EXPECT_THAT(std::string(chosen.status().message()), HasSubstr("SIGHTLINE_OPENVINO_LIBRARY"));
  const auto other = LoadOpenVino({.chosen = "libm.so.6", .candidates = {}});
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("is not OpenVINO"));
}

// Debian's OpenCV and OpenVINO both want a libtbb.so.12. Both are to work in one process, at the same
// time, in whichever order they are first used.
TEST_F(OpenVinoTest, AndOpenCvWorkInOneProcess) {
  const auto session = backend_->Open({.model_file = TestModel("conv"), .intra_op_threads = 2});
  ASSERT_TRUE(session.ok()) << session.status();
  cv::Mat picture(512, 512, CV_8UC3);
  for (int y = 0; y < picture.rows; ++y) {
    for (int x = 0; x < picture.cols; ++x) {
      picture.at<cv::Vec3b>(y, x) = cv::Vec3b(static_cast<uint8_t>(x), static_cast<uint8_t>(y), 7);
    }
  }
  const auto blurred = [&] {
    cv::Mat result;
    cv::GaussianBlur(picture, result, cv::Size(31, 31), 5);  // OpenCV divides this among threads
    return result;
  };
  cv::setNumThreads(1);
  const cv::Mat alone = blurred();
  cv::setNumThreads(2);
  std::thread other([&] {
    for (int i = 0; i < 20; ++i) ASSERT_EQ(cv::norm(blurred(), alone, cv::NORM_INF), 0.0);
  });
  for (int i = 0; i < 200; ++i) {
    float* in = Floats(**session, 0, {1, 3, 8, 8});
    std::fill_n(in, 3 * 8 * 8, 2.0f);
    const auto out = (*session)->Run();
    ASSERT_TRUE(out.ok()) << out.status();
    ASSERT_NEAR((*out)[0].f32()[2 * 16 + 5], 1 + 2 * 27 * 0.17f, 1e-3);
  }
  other.join();
  EXPECT_EQ(cv::norm(blurred(), alone, cv::NORM_INF), 0.0);
}

}  // namespace
}  // namespace sightline
