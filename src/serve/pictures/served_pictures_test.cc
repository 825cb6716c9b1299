#include "serve/pictures/served_pictures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "serve/inference/tensor_types.h"
#include "serve/pictures/test_detector.h"

namespace sightline::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ServedPicturesTest : public ::testing::Test {
 protected:
  test::PictureWorld world_{::testing::UnitTest::GetInstance()->current_test_info()->name()};

  static PictureRequest Request(PictureTask task = PictureTask::kAny) {
    PictureRequest request;
    request.task = task;
    return request;
  }
  std::vector<std::string> IndexNames() {
    std::vector<std::string> names;
    for (const auto& entry : world_.service->repository().Index(true)) names.push_back(entry.name);
    return names;
  }
};

TEST_F(ServedPicturesTest, TheFirstPictureOpensTheDetectors) {
  ASSERT_TRUE(world_.Start().ok());
  EXPECT_EQ(world_.detector->opened, 0);
  EXPECT_THAT(IndexNames(), ElementsAre("double"));
  const auto answer = world_.Ask(Request(), test::JpegOf(90, 60)).get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(world_.detector->opened, 1);
  EXPECT_EQ(answer->model, "double");
  EXPECT_EQ(answer->version, "1");
  EXPECT_EQ(answer->width, 90);
  EXPECT_EQ(answer->height, 60);
  ASSERT_EQ(answer->results.items.size(), 1u);
  EXPECT_EQ(answer->results.labels->NameOf(answer->results.items[0].class_id), "dog");
  // From now on it is known to look at pictures.
  EXPECT_THAT(IndexNames(), ElementsAre("double", "double_pictures"));
  EXPECT_NE(world_.pictures->Identify("double", "")->identity, "");
}

TEST_F(ServedPicturesTest, AShrunkPictureIsAnsweredInPixelsOfTheWhole) {
  ASSERT_TRUE(world_.Start().ok());
  const auto answer = world_.Ask(Request(), test::JpegOf(401, 300)).get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(world_.detector->last_width, 201);  // 100 x 100 is wanted, so half of it is enough
  EXPECT_EQ(answer->width, 401);
  EXPECT_EQ(answer->results.items[0].box_px, (Box{100.5f, 75, 301.5f, 225}));
  PictureRequest drawn = Request();
  drawn.drawn = DrawnAs::kPng;
  const auto picture = world_.Ask(drawn, test::JpegOf(401, 300)).get();
  ASSERT_TRUE(picture.ok()) << picture.status();
  EXPECT_EQ(world_.detector->last_width, 401);
  EXPECT_EQ(PictureTypeOf(picture->drawn), "image/png");
}

TEST_F(ServedPicturesTest, ShrinkingCanBeTurnedOff) {
  world_.settings.pictures.shrink = false;
  ASSERT_TRUE(world_.Start().ok());
  ASSERT_TRUE(world_.Ask(Request(), test::JpegOf(401, 300)).get().ok());
  EXPECT_EQ(world_.detector->last_width, 401);
}

TEST_F(ServedPicturesTest, OptionsChooseWhatIsAnswered) {
  ASSERT_TRUE(world_.Start().ok());
  const auto found = [&](PictureOptions options) {
    PictureRequest request = Request();
    request.options = std::move(options);
    const auto answer = world_.Ask(request, test::JpegOf(90, 60)).get();
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? answer->results.items.size() : 99;
  };
  EXPECT_EQ(found({.confidence = 0.1f}), 2u);
  EXPECT_EQ(found({.confidence = 0.95f}), 0u);
  EXPECT_EQ(found({.confidence = 0.1f, .max_results = 1}), 1u);
  EXPECT_EQ(found({.confidence = 0.1f, .classes = {"CAT"}}), 1u);
  EXPECT_EQ(found({.confidence = 0.1f, .classes = {"0", "dog"}}), 2u);
  PictureRequest wrong = Request();
  wrong.options.classes = {"dgo"};
  const auto refused = world_.Ask(wrong, test::JpegOf(90, 60)).get();
  EXPECT_TRUE(absl::IsInvalidArgument(refused.status()));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("did you mean \"dog\"?"));
}

TEST_F(ServedPicturesTest, AnotherTaskIsRefusedWithTheRightRoute) {
  ASSERT_TRUE(world_.Start().ok());
  const auto refused = world_.Ask(Request(PictureTask::kClassify), test::JpegOf(90, 60)).get();
  EXPECT_TRUE(absl::IsInvalidArgument(refused.status()));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("POST /v1/detect/double"));
}

TEST_F(ServedPicturesTest, BadPicturesAreTheClientsFault) {
  ASSERT_TRUE(world_.Start().ok());
  const std::string jpeg = test::JpegOf(90, 60);
  for (const std::string& bytes : {std::string(), std::string("GIF89a"), jpeg.substr(0, 40),
                                   jpeg.substr(0, jpeg.size() - 30), test::JpegOf(4097, 8)}) {
    const auto refused = world_.Ask(Request(), bytes).get();
    EXPECT_TRUE(absl::IsInvalidArgument(refused.status())) << refused.status();
  }
  world_.detector->fails = true;
  const auto failed = world_.Ask(Request(), jpeg).get();
  EXPECT_TRUE(absl::IsInternal(failed.status())) << failed.status();
}

TEST_F(ServedPicturesTest, AModelThatIsNoneForPicturesSaysSoEveryTime) {
  world_.detector->factory_fails = true;
  ASSERT_TRUE(world_.Start().ok());
  for (int i = 0; i < 2; ++i) {
    const auto refused = world_.Ask(Request(), test::JpegOf(90, 60)).get();
    EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("nobody knows this model"));
  }
  EXPECT_THAT(IndexNames(), ElementsAre("double"));
}

TEST_F(ServedPicturesTest, SettingsOpenThemAtLoadOrNever) {
  world_.settings.pictures.use = PictureUse::kAtLoad;
  ASSERT_TRUE(world_.Start().ok());
  EXPECT_EQ(world_.detector->opened, 1);
  EXPECT_THAT(IndexNames(), ElementsAre("double", "double_pictures"));
}

TEST_F(ServedPicturesTest, OffMeansOff) {
  world_.settings.pictures.use = PictureUse::kOff;
  ASSERT_TRUE(world_.Start().ok());
  const auto refused = world_.Ask(Request(), test::JpegOf(90, 60)).get();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
  EXPECT_TRUE(
      absl::IsUnavailable(world_.service->repository().Find("double_pictures", "").status()));
}

TEST_F(ServedPicturesTest, ANewVersionIsOpenBeforeItTakesOver) {
  ASSERT_TRUE(world_.Start().ok());
  ASSERT_TRUE(world_.Ask(Request(), test::JpegOf(90, 60)).get().ok());
  const uint64_t before = world_.pictures->Identify("double", "")->load;
  world_.detector->Close();
  auto slow = world_.Ask(Request(), test::JpegOf(90, 60));  // of the old version
  world_.detector->WaitForRun();
  std::thread reload([&] { EXPECT_TRUE(world_.Reload().ok()); });
  while (world_.pictures->Identify("double", "")->load == before) std::this_thread::yield();
  EXPECT_EQ(world_.detector->opened, 2);
  EXPECT_NE(world_.pictures->Identify("double", "")->identity, "");
  world_.detector->Open();
  EXPECT_TRUE(slow.get().ok());
  reload.join();
  EXPECT_TRUE(world_.Ask(Request(), test::JpegOf(90, 60)).get().ok());
  // One that cannot look at pictures does not take over.
  world_.detector->factory_fails = true;
  EXPECT_FALSE(world_.Reload().ok());
  EXPECT_TRUE(world_.Ask(Request(), test::JpegOf(90, 60)).get().ok());
}

TEST_F(ServedPicturesTest, UnloadingAnswersWhatWasAccepted) {
  ASSERT_TRUE(world_.Start().ok());
  ASSERT_TRUE(world_.Ask(Request(), test::JpegOf(90, 60)).get().ok());
  world_.detector->Close();
  std::vector<std::future<absl::StatusOr<PictureAnswer>>> answers;
  for (int i = 0; i < 5; ++i) answers.push_back(world_.Ask(Request(), test::JpegOf(90, 60)));
  world_.detector->WaitForRun();
  std::thread unload([&] { EXPECT_TRUE(world_.Unload().ok()); });
  while (world_.service->repository().Find("double", "").ok()) std::this_thread::yield();
  const auto refused = world_.Ask(Request(), test::JpegOf(90, 60)).get();
  EXPECT_TRUE(absl::IsUnavailable(refused.status())) << refused.status();
  world_.detector->Open();
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
  unload.join();
}

TEST_F(ServedPicturesTest, TheQueueIsBounded) {
  world_.settings.queue = 2;
  ASSERT_TRUE(world_.Start().ok());
  ASSERT_TRUE(world_.Ask(Request(), test::JpegOf(90, 60)).get().ok());
  world_.detector->Close();
  std::vector<std::future<absl::StatusOr<PictureAnswer>>> answers;
  answers.push_back(world_.Ask(Request(), test::JpegOf(90, 60)));
  world_.detector->WaitForRun();
  for (int i = 0; i < 3; ++i) answers.push_back(world_.Ask(Request(), test::JpegOf(90, 60)));
  EXPECT_TRUE(absl::IsResourceExhausted(answers.back().get().status()));
  answers.pop_back();
  world_.detector->Open();
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
}

absl::StatusOr<InferResponse> AskEnsemble(InferenceService& service,
                                          const std::vector<std::string>& pictures,
                                          std::vector<WantedOutput> outputs = {},
                                          std::shared_ptr<RequestContext> context = nullptr) {
  InferRequest request;
  request.model = "double_pictures";
  request.context = std::move(context);
  InferInput& input = request.inputs.emplace_back();
  input.name = "image";
  input.dtype = DataType::kString;
  input.shape = {static_cast<int64_t>(pictures.size()), 1};
  input.is_owned = true;
  for (const std::string& one : pictures) AppendString(one, input.owned);
  request.outputs = std::move(outputs);
  auto promise = std::make_shared<std::promise<absl::StatusOr<InferResponse>>>();
  auto answer = promise->get_future();
  service.Infer(std::move(request),
                [promise](absl::StatusOr<InferResponse>&& r) { promise->set_value(std::move(r)); });
  return answer.get();
}

TEST_F(ServedPicturesTest, TheEnsembleAnswersInTensors) {
  ASSERT_TRUE(world_.Start().ok());
  int64_t charged = 0;
  const auto context = std::make_shared<RequestContext>();
  context->charge = [&](int64_t more) { charged += more; };
  const auto answer =
      AskEnsemble(*world_.service, {test::JpegOf(80, 40), test::JpegOf(40, 80)}, {}, context);
  EXPECT_EQ(charged, 1) << "for the second picture";
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->model, "double_pictures");
  ASSERT_EQ(answer->outputs.size(), 5u);
  EXPECT_EQ(answer->outputs[0].shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(answer->outputs[1].shape, (std::vector<int64_t>{2, 1, 4}));
  std::vector<float> boxes(8);
  ASSERT_EQ(answer->outputs[1].bytes.size(), 32u);
  std::memcpy(boxes.data(), answer->outputs[1].bytes.data(), 32);
  EXPECT_THAT(boxes, ElementsAre(20, 10, 60, 30, 10, 20, 30, 60));
  std::string_view strings = answer->outputs[4].bytes;
  const auto json = nlohmann::json::parse(TakeString(strings));
  EXPECT_EQ(json["width"], 80);
  EXPECT_EQ(json["detections"][0]["class"], "dog");

  const auto some = AskEnsemble(*world_.service, {test::JpegOf(80, 40)}, {{.name = "json"}});
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_EQ(some->outputs.size(), 1u);
  const auto bad = AskEnsemble(*world_.service, {test::JpegOf(80, 40), "no picture"});
  EXPECT_TRUE(absl::IsInvalidArgument(bad.status())) << bad.status();
  EXPECT_THAT(std::string(bad.status().message()), HasSubstr("picture 1"));
  const auto ensemble = world_.service->repository().Find("double_pictures", "1");
  ASSERT_TRUE(ensemble.ok());
  EXPECT_EQ((*ensemble)->statistics().Counts().inferences, 3u);
  EXPECT_EQ((*ensemble)->statistics().Counts().fail.count, 1u);
}

}  // namespace
}  // namespace sightline::serve
