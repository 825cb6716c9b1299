#include "infer/backends/onnxruntime/onnxruntime_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "infer/backends/onnxruntime/onnxruntime_library.h"
#include "infer/backends/test_counted_allocations.h"

namespace sightline {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string TestModel(const std::string& name) {
  return SIGHTLINE_SOURCE_DIR "/tests/data/models/" + name + ".onnx";
}

class OnnxRuntimeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto backend = OnnxRuntimeBackend();
    if (!backend.ok()) GTEST_SKIP() << backend.status();
    backend_ = *backend;
  }
  std::unique_ptr<InferenceSession> Open(const std::string& name) {
    auto session = backend_->Open({.model_file = TestModel(name)});
    EXPECT_TRUE(session.ok()) << session.status();
    return session.ok() ? std::move(*session) : nullptr;
  }
  static float* Floats(InferenceSession& session, size_t index, std::vector<int64_t> shape) {
    auto buffer = session.InputBuffer(index, shape);
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(*buffer) % 64, 0u);
    return static_cast<float*>(*buffer);
  }
  InferenceBackend* backend_ = nullptr;
};

TEST_F(OnnxRuntimeTest, SaysWhatItIs) {
  EXPECT_EQ(backend_->name(), "onnxruntime");
  EXPECT_THAT(backend_->version(), ::testing::StartsWith("1."));
  EXPECT_THAT(backend_->providers(), Contains("cpu"));
  EXPECT_THAT(backend_->providers(), ::testing::Not(Contains("azure")));
}

TEST_F(OnnxRuntimeTest, UsageReportsAreOff) {
  EXPECT_STREQ(std::getenv("ORT_DISABLE_TELEMETRY"), "1");
}

TEST_F(OnnxRuntimeTest, RunsAFixedModelIntoTheSameMemory) {
  const auto session = Open("conv");
  ASSERT_EQ(session->inputs().size(), 1u);
  EXPECT_EQ(ToString(session->inputs()[0]), "images float32[1,3,8,8]");
  EXPECT_EQ(ToString(session->outputs()[0]), "output float32[1,4,4,4]");
  const void* data = nullptr;
  for (int round = 0; round < 4; ++round) {
    float* in = Floats(*session, 0, {1, 3, 8, 8});
    std::fill_n(in, 3 * 8 * 8, static_cast<float>(round));
    const auto out = session->Run();
    ASSERT_TRUE(out.ok()) << out.status();
    ASSERT_EQ(out->size(), 1u);
    EXPECT_THAT((*out)[0].shape, ElementsAre(1, 4, 4, 4));
    // The sum of the third filter's weights is 27 * (0.67 - 0.5); bias 1.
    const float* third = (*out)[0].f32() + 2 * 16;
    EXPECT_NEAR(third[5], 1 + round * 27 * 0.17f, 1e-4);
    // The first run learns the true shapes; from the second on the memory stays.
    if (round >= 2) {
      EXPECT_EQ((*out)[0].data, data);
    }
    data = (*out)[0].data;
  }
}

TEST_F(OnnxRuntimeTest, RunAllocatesNothingOfOursAfterWarmUp) {
  for (const char* name : {"conv", "dynamic"}) {
    const auto session = Open(name);
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

TEST_F(OnnxRuntimeTest, DynamicShapesChangeFromRunToRun) {
  const auto session = Open("dynamic");
  EXPECT_EQ(ToString(session->inputs()[0]), "x float32[-1,3,-1,-1]");
  EXPECT_EQ(session->Run().status().code(), absl::StatusCode::kInvalidArgument);
  for (const int64_t n : {1, 4, 2, 4, 7, 1}) {
    float* in = Floats(*session, 0, {n, 3, n + 1, 2});
    const int64_t elements = n * 3 * (n + 1) * 2;
    for (int64_t i = 0; i < elements; ++i) in[i] = static_cast<float>(i);
    const auto out = session->Run();
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_THAT((*out)[0].shape, ElementsAre(n, 3, n + 1, 2));
    ASSERT_EQ((*out)[0].elements(), elements);
    for (int64_t i = 0; i < elements; ++i) ASSERT_EQ((*out)[0].f32()[i], 2.0f * i);
  }
}

TEST_F(OnnxRuntimeTest, InputsMayLieInTheCallersMemory) {
  const auto session = Open("dynamic");
  alignas(64) float memory[100];
  for (const int64_t n : {2, 2, 4, 1, 2}) {
    const std::vector<int64_t> shape = {1, 3, n, 2};
    const auto elements = static_cast<size_t>(6 * n);
    // Lent, not aligned, filled, by turns: none of them sees what another one left.
    for (float add = 0; add < 2; ++add) {
      for (size_t i = 0; i < elements; ++i) memory[i] = static_cast<float>(i) + add;
      const absl::StatusOr<bool> lent = session->LendInput(0, shape, memory);
      ASSERT_TRUE(lent.ok()) << lent.status();
      ASSERT_TRUE(*lent);
      const auto out = session->Run();
      ASSERT_TRUE(out.ok()) << out.status();
      EXPECT_THAT((*out)[0].shape, ElementsAre(1, 3, n, 2));
      for (size_t i = 0; i < elements; ++i) ASSERT_EQ((*out)[0].f32()[i], 2 * memory[i]);
      EXPECT_EQ(memory[1], 1 + add) << "nothing is written to it";
    }
    EXPECT_EQ(session->Run().status().code(), absl::StatusCode::kInvalidArgument)
        << "it was lent for one run";
    EXPECT_FALSE(*session->LendInput(0, shape, memory + 1));
    float* const own = Floats(*session, 0, shape);
    std::fill_n(own, elements, 9.0f);
    std::fill_n(memory, elements, -1.0f);
    const auto out = session->Run();
    ASSERT_TRUE(out.ok()) << out.status();
    for (size_t i = 0; i < elements; ++i) ASSERT_EQ((*out)[0].f32()[i], 18);
  }
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{1, 2, 2, 2}, {1, 3, 0, 2}, {1, 3, 2}}) {
    EXPECT_EQ(session->LendInput(0, shape, memory).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(OnnxRuntimeTest, OutputsWhoseSizeDependsOnValues) {
  const auto session = Open("data_dependent");
  for (const int count : {0, 3, 8, 1}) {
    float* in = Floats(*session, 0, {1, 8});
    for (int i = 0; i < 8; ++i) in[i] = i < count ? 1.0f : 0.0f;
    const auto out = session->Run();
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_EQ((*out)[0].dtype, DataType::kInt64);
    EXPECT_THAT((*out)[0].shape, ElementsAre(2, count));
  }
}

TEST_F(OnnxRuntimeTest, WrongDeclaredShapesDoNotCount) {
  const auto session = Open("wrong_shape");
  EXPECT_EQ(ToString(session->outputs()[0]), "y float32[4,2]");
  // True to the declaration at first, so that the session trusts it; then not, then once more.
  for (const int64_t rows : {4, 4, 2, 2, 4, 8}) {
    float* in = Floats(*session, 0, {1, 8});
    for (int i = 0; i < 8; ++i) in[i] = static_cast<float>(i);
    auto* shape = static_cast<int64_t*>(*session->InputBuffer(1, std::vector<int64_t>{2}));
    shape[0] = rows;
    shape[1] = 8 / rows;
    const auto out = session->Run();
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_THAT((*out)[0].shape, ElementsAre(rows, 8 / rows));
    EXPECT_EQ((*out)[0].f32()[7], 7.0f);
  }
}

TEST_F(OnnxRuntimeTest, AFailedRunSaysWhyAndTheNextWorks) {
  const auto session = Open("wrong_shape");
  for (const int64_t rows : {4, 4, 3, 4}) {
    auto* shape = static_cast<int64_t*>(*session->InputBuffer(1, std::vector<int64_t>{2}));
    shape[0] = rows;
    shape[1] = 2;
    const auto out = session->Run();
    EXPECT_EQ(out.ok(), rows == 4);
    if (!out.ok()) {
      EXPECT_EQ(out.status().code(), absl::StatusCode::kInternal);
      EXPECT_THAT(std::string(MessageOf(out.status())), HasSubstr("wrong_shape.onnx"));
    }
  }
}

TEST_F(OnnxRuntimeTest, SeveralInputsAndOutputs) {
  const auto session = Open("two_inputs");
  Floats(*session, 0, {2, 3})[4] = 5;
  float* b = Floats(*session, 1, {1, 3});
  b[0] = 0, b[1] = 2, b[2] = 0;
  const auto out = session->Run();
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ((*out)[0].f32()[4], 7);
  EXPECT_EQ((*out)[1].f32()[4], 3);
  // The model says "rows", and 3 rows do not add to 2.
  (void)Floats(*session, 1, {3, 3});
  EXPECT_FALSE(session->Run().ok());
}

TEST_F(OnnxRuntimeTest, OtherElementTypes) {
  const auto session = Open("half");
  EXPECT_EQ(session->inputs()[0].dtype, DataType::kFloat16);
  auto* in = static_cast<uint16_t*>(*session->InputBuffer(0, std::vector<int64_t>{1, 4}));
  in[2] = 0x4200;  // 3.0
  const auto out = session->Run();
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ((*out)[0].dtype, DataType::kUint8);
  EXPECT_EQ(static_cast<const uint8_t*>((*out)[0].data)[2], 3);
}

TEST_F(OnnxRuntimeTest, ShapesThatDoNotFitAreRefused) {
  const auto fixed = Open("conv");
  const auto dynamic = Open("dynamic");
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{
           {}, {1, 3, 8}, {2, 3, 8, 8}, {1, 3, 8, -1}, {1, 3, 8, 8, 1}}) {
    EXPECT_EQ(fixed->InputBuffer(0, shape).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(fixed->InputBuffer(1, std::vector<int64_t>{1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{0, 3, 1, 1},
                                         {1, 3, -5, 1},
                                         {int64_t{1} << 62, 3, int64_t{1} << 62, 4},
                                         {1 << 20, 3, 1 << 20, 1}}) {
    EXPECT_EQ(dynamic->InputBuffer(0, shape).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(fixed->Run().ok()) << "a refusal leaves the session as it was";
}

TEST_F(OnnxRuntimeTest, FilesThatAreNoModels) {
  EXPECT_EQ(backend_->Open({.model_file = "/does/not/exist.onnx"}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(backend_->Open({.model_file = "/tmp"}).status().code(),
            absl::StatusCode::kInvalidArgument);
  const std::string garbage = ::testing::TempDir() + "/garbage.onnx";
  std::ofstream(garbage) << "this is no model";
  const auto opened = backend_->Open({.model_file = garbage});
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(opened.status())), HasSubstr("garbage.onnx"));
  EXPECT_THAT(std::string(MessageOf(opened.status())), HasSubstr("not an ONNX model"));
  const auto escape = backend_->Open({.model_file = TestModel("external_escape")});
  EXPECT_EQ(escape.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(escape.status())), HasSubstr("../../secret.bin"));
  const auto sequence = backend_->Open({.model_file = TestModel("sequence")});
  EXPECT_THAT(std::string(MessageOf(sequence.status())), HasSubstr("sequence or map"));
}

TEST_F(OnnxRuntimeTest, ProvidersByName) {
  EXPECT_TRUE(backend_->Open({.model_file = TestModel("conv"), .providers = {"CPU"}}).ok());
  const auto unknown = backend_->Open({.model_file = TestModel("conv"), .providers = {"abacus"}});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(MessageOf(unknown.status())),
              ::testing::AllOf(HasSubstr("\"abacus\""), HasSubstr("it has cpu")));
  for (const char* bad : {"cpu:", "cpu:x", "cpu:-1", ""}) {
    EXPECT_FALSE(backend_->Open({.model_file = TestModel("conv"), .providers = {bad}}).ok()) << bad;
  }
  EXPECT_FALSE(backend_->Open({.model_file = TestModel("conv"), .providers = {"cpu", "cpu"}}).ok());
}

TEST_F(OnnxRuntimeTest, SessionsOfOneFileRunAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const auto session = Open("dynamic");
      for (int i = 0; i < 50; ++i) {
        const int64_t n = 1 + (i + t) % 3;
        float* in = Floats(*session, 0, {n, 3, 2, 2});
        std::fill_n(in, n * 12, static_cast<float>(t * 100 + i));
        const auto out = session->Run();
        ASSERT_TRUE(out.ok());
        for (int64_t k = 0; k < n * 12; ++k) ASSERT_EQ((*out)[0].f32()[k], 2.0f * (t * 100 + i));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(OnnxRuntimeTest, SeveralThreadsForOneRun) {
  auto session = backend_->Open({.model_file = TestModel("conv"), .intra_op_threads = 2});
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_TRUE((*session)->Run().ok());
  EXPECT_FALSE(backend_->Open({.model_file = TestModel("conv"), .intra_op_threads = 0}).ok());
}

TEST(OnnxRuntimeLibrary, NothingFoundSaysWhereAndWhatToDo) {
  const auto none = LoadOnnxRuntime({.chosen = "", .candidates = {"/no/such/libonnxruntime.so.1"}});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(none.status())),
              ::testing::AllOf(HasSubstr("./dev setup"), HasSubstr("/no/such/")));
}

TEST(OnnxRuntimeLibrary, TheChosenOneIsUsedOrRefused) {
  const auto missing = LoadOnnxRuntime({.chosen = "/no/such/library.so", .candidates = {}});
  EXPECT_THAT(std::string(MessageOf(missing.status())), HasSubstr("SIGHTLINE_ORT_LIBRARY"));
  const auto other = LoadOnnxRuntime({.chosen = "libm.so.6", .candidates = {}});
  EXPECT_THAT(std::string(MessageOf(other.status())), HasSubstr("is not ONNX Runtime"));
}

}  // namespace
}  // namespace sightline
