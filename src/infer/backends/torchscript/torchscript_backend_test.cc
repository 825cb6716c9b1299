#include "infer/backends/torchscript/torchscript_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "infer/backends/test_counted_allocations.h"
#include "infer/backends/torchscript/torchscript_session_internal.h"
#include "infer/torchscript_file.h"

namespace sightline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string TestModel(const std::string& name) {
  return SIGHTLINE_SOURCE_DIR "/tests/data/models/" + name + ".torchscript";
}

class TorchScriptTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto backend = TorchScriptBackend();
    if (!backend.ok()) GTEST_SKIP() << backend.status();
    backend_ = *backend;
  }
  std::unique_ptr<InferenceSession> Open(const std::string& name,
                                         std::vector<int64_t> picture_shape = {}) {
    auto session =
        backend_->Open({.model_file = TestModel(name), .picture_shape = std::move(picture_shape)});
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

TEST_F(TorchScriptTest, SaysWhatItIs) {
  EXPECT_EQ(backend_->name(), "torchscript");
  EXPECT_FALSE(backend_->version().empty());
  EXPECT_THAT(backend_->providers(), ElementsAre("cpu"));
  EXPECT_TRUE(backend_->Reads(ModelFormat::kTorchScript));
  EXPECT_FALSE(backend_->Reads(ModelFormat::kOnnx));
}

TEST_F(TorchScriptTest, RunsAModelOfAKnownPicture) {
  const auto session = Open("conv", {1, 3, 8, 8});
  ASSERT_NE(session, nullptr);
  ASSERT_EQ(session->inputs().size(), 1u);
  EXPECT_EQ(ToString(session->inputs()[0]), "x float32[-1,3,8,8]");
  EXPECT_EQ(ToString(session->outputs()[0]), "output0 float32[-1,4,4,4]");
  for (const int64_t batch : {1, 1, 3, 2}) {
    float* in = Floats(*session, 0, {batch, 3, 8, 8});
    std::fill_n(in, batch * 3 * 8 * 8, static_cast<float>(batch));
    const auto out = session->Run();
    ASSERT_TRUE(out.ok()) << out.status();
    ASSERT_EQ(out->size(), 1u);
    EXPECT_THAT((*out)[0].shape, ElementsAre(batch, 4, 4, 4));
    // The sum of the third filter's weights is 27 * (0.67 - 0.5); bias 1.
    const float* third = (*out)[0].f32() + (batch - 1) * 4 * 16 + 2 * 16;
    EXPECT_NEAR(third[5], 1 + batch * 27 * 0.17f, 1e-3);
  }
  EXPECT_FALSE(session->InputBuffer(0, std::vector<int64_t>{1, 3, 9, 8}).ok());
  EXPECT_TRUE(session->Run().ok()) << "a refusal leaves the session as it was";
}

TEST_F(TorchScriptTest, WithoutAPictureShapesAreWhatTheyAreGiven) {
  const auto session = Open("conv");
  ASSERT_NE(session, nullptr);
  EXPECT_EQ(session->Run().status().code(), absl::StatusCode::kInvalidArgument);
  for (const int64_t side : {8, 16, 8}) {
    (void)Floats(*session, 0, {1, 3, side, side});
    const auto out = session->Run();
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_THAT((*out)[0].shape, ElementsAre(1, 4, side / 2, side / 2));
  }
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{}, {1, 3, 8, 0}, {1, 3, 8, -1}, {int64_t{1} << 40, 3, 8, 8}}) {
    EXPECT_EQ(session->InputBuffer(0, shape).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(session->InputBuffer(1, std::vector<int64_t>{1}).ok());
}

TEST_F(TorchScriptTest, SeveralInputsNestedOutputsOtherTypes) {
  const auto session = Open("two_outputs");
  ASSERT_NE(session, nullptr);
  ASSERT_EQ(session->inputs().size(), 2u);
  EXPECT_EQ(session->inputs()[1].name, "b");
  ASSERT_EQ(session->outputs().size(), 3u);
  float* a = Floats(*session, 0, {2, 3});
  float* b = Floats(*session, 1, {1, 3});
  std::fill_n(a, 6, 1.0f);
  b[0] = 1, b[1] = 5, b[2] = 2;
  const auto out = session->Run();
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ((*out)[0].f32()[4], 6);
  EXPECT_EQ((*out)[1].dtype, DataType::kInt64);
  EXPECT_EQ(static_cast<const int64_t*>((*out)[1].data)[1], 1);
  // float64 in the model.
  EXPECT_EQ((*out)[2].dtype, DataType::kFloat32);
  EXPECT_EQ((*out)[2].f32()[4], 3);
}

TEST_F(TorchScriptTest, AFailedRunSaysWhyAndTheNextWorks) {
  const auto session = Open("one_size");
  ASSERT_NE(session, nullptr);
  for (const int64_t height : {32, 33, 32}) {
    std::fill_n(Floats(*session, 0, {1, 3, height, 48}), 3 * height * 48, 2.0f);
    const auto out = session->Run();
    EXPECT_EQ(out.ok(), height == 32);
    if (out.ok()) {
      EXPECT_EQ((*out)[0].f32()[7], 9);
      continue;
    }
    EXPECT_EQ(out.status().code(), absl::StatusCode::kInternal);
    const std::string words(MessageOf(out.status()));
    EXPECT_THAT(words, HasSubstr("one_size.torchscript"));
    EXPECT_THAT(words, HasSubstr("33"));
    EXPECT_THAT(words, ::testing::Not(HasSubstr("\n")));
  }
}

TEST_F(TorchScriptTest, FilesThatAreNoModelsAreRefusedInWords) {
  EXPECT_THAT(Refusal({.model_file = "/nowhere/a.torchscript"}), HasSubstr("no model file"));
  EXPECT_THAT(Refusal({.model_file = "/tmp"}), HasSubstr("is not a file"));
  EXPECT_THAT(Refusal({.model_file = TestModel("dictionary")}), HasSubstr("tuple of tensors"));
  EXPECT_THAT(Refusal({.model_file = TestModel("conv"), .intra_op_threads = 0}),
              HasSubstr("threads"));
  EXPECT_THAT(Refusal({.model_file = TestModel("conv"), .providers = {"cuda"}}),
              HasSubstr("\"cpu\" alone"));
  EXPECT_THAT(Refusal({.model_file = TestModel("one_size"), .picture_shape = {1, 3, 8, 8}}),
              HasSubstr("libtorch failed on x[1,3,8,8]"));
  // Every part of it cut off, or one byte changed.
  std::ifstream stream(TestModel("conv"), std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(stream), {}};
  const std::string file = ::testing::TempDir() + "/damaged.torchscript";
  for (size_t kept = 0; kept < whole.size(); kept += 97) {
    std::ofstream(file, std::ios::binary) << whole.substr(0, kept);
    EXPECT_THAT(Refusal({.model_file = file}), HasSubstr("damaged.torchscript"));
  }
  for (size_t at = 0; at < whole.size(); at += 41) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x5a);
    std::ofstream(file, std::ios::binary) << changed;
    const auto session = backend_->Open({.model_file = file, .picture_shape = {1, 3, 8, 8}});
    if (!session.ok()) {
      EXPECT_THAT(std::string(MessageOf(session.status())), HasSubstr("damaged.torchscript"));
    }
  }
  std::remove(file.c_str());
}

TEST_F(TorchScriptTest, RunAllocatesNothingOfOursAfterWarmUp) {
  const auto session = Open("conv", {1, 3, 8, 8});
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
  EXPECT_EQ(allocations, 0);
}

TEST_F(TorchScriptTest, SessionsOfOneFileRunAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      auto session = backend_->Open({.model_file = TestModel("conv"),
                                     .intra_op_threads = 1 + t % 2,
                                     .picture_shape = {1, 3, 8, 8}});
      ASSERT_TRUE(session.ok()) << session.status();
      for (int round = 0; round < 50; ++round) {
        const float value = static_cast<float>(t + round % 3);
        std::fill_n(Floats(**session, 0, {1, 3, 8, 8}), 3 * 8 * 8, value);
        const auto out = (*session)->Run();
        ASSERT_TRUE(out.ok()) << out.status();
        ASSERT_NEAR((*out)[0].f32()[2 * 16 + 5], 1 + value * 27 * 0.17f, 1e-3);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(TorchScriptTest, ShapesThatNoFileStatesAreFound) {
  const auto noted = InspectTorchScript(TestModel("blobs_yolox"), *backend_);
  ASSERT_TRUE(noted.ok()) << noted.status();
  EXPECT_EQ(ToString(noted->inputs[0]), "x float32[1,3,128,160]");
  EXPECT_EQ(noted->metadata.at("names"), R"({"0":"white","1":"red"})");
  const auto unknown = InspectTorchScript(TestModel("one_size"), *backend_);
  EXPECT_THAT(std::string(unknown.status().message()), HasSubstr("--set input.width=W"));
  const auto told = InspectTorchScript(TestModel("one_size"), *backend_, 48, 32);
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(ToString(told->outputs[0]), "output0 float32[-1,1536]");
}

TEST(TorchScriptLibrary, SaysWhereItLookedAndWhatToDo) {
  const auto none = LoadTorchScript({.chosen = "", .candidates = {"/nowhere/adapter.so"}});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("./dev setup torchscript"));
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("/nowhere/adapter.so"));
  const auto chosen = LoadTorchScript({.chosen = "/nowhere/own.so", .candidates = {}});
  EXPECT_THAT(std::string(chosen.status().message()), HasSubstr("SIGHTLINE_TORCHSCRIPT_LIBRARY"));
  const auto other = LoadTorchScript({.chosen = "libm.so.6", .candidates = {}});
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("is not libsightline_torchscript"));
}

TEST(TorchScriptWords, AreTheLastOfTheTrace) {
  EXPECT_EQ(TorchScriptWords("The following operation failed in the TorchScript interpreter.\n"
                             "Traceback of TorchScript:\n  x = y\nRuntimeError: sizes differ\n"),
            "sizes differ");
  EXPECT_EQ(TorchScriptWords(""), "no reason given");
  EXPECT_EQ(TorchScriptWords("a\nb"), "a b");
}

}  // namespace
}  // namespace sightline
