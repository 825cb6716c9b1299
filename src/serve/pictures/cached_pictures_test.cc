#include "serve/pictures/cached_pictures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <random>

#include "serve/pictures/picture_json.h"
#include "serve/pictures/test_detector.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;
using Answer = absl::StatusOr<PictureAnswer>;

// Patches of chance brightness; `turned`: quite another picture. Qualities differ in their bytes, and look
// alike.
std::string Picture(int quality, bool turned = false, int width = 400, int height = 300) {
  std::vector<uint8_t> bgr;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const int u = (turned ? y : x) * 12 / width, v = (turned ? x : y) * 9 / height;
      const auto hash = static_cast<uint32_t>(u * 73856093 ^ v * 19349663) * 2654435761u;
      const auto value = static_cast<uint8_t>(hash >> 24);
      bgr.insert(bgr.end(), {value, value, static_cast<uint8_t>(value / 2)});
    }
  }
  const ImageView view{.format = PixelFormat::kBgr24,
                       .width = width,
                       .height = height,
                       .planes = {bgr.data(), nullptr, nullptr},
                       .strides = {3 * width, 0, 0}};
  const std::vector<uint8_t> bytes = *EncodeJpeg(view, quality);
  return {bytes.begin(), bytes.end()};
}

// Answers "embedder" by itself, with the first bytes of the scan as a direction; counts what goes on.
class BetweenPictures final : public PictureService {
 public:
  explicit BetweenPictures(PictureService& inner) : inner_(inner) {}
  void Answer(PictureRequest&& request, PictureDone done) override {
    if (request.model == "embedder") {
      PictureAnswer answer;
      answer.width = answer.height = 400;
      const auto quality = static_cast<float>(request.bytes.size());
      const float length = std::hypot(quality, 10'000.f);
      answer.results.embedding = {quality / length, 10'000.f / length};
      return done(std::move(answer));
    }
    ++asked;
    if (is_exchanged_meanwhile) ++loads;
    inner_.Answer(std::move(request), std::move(done));
  }
  absl::StatusOr<PictureModelId> Identify(std::string_view model,
                                          std::string_view version) const override {
    auto id = inner_.Identify(model, version);
    if (id.ok()) id->load += loads;
    return id;
  }
  std::atomic<int> asked{0};
  std::atomic<uint64_t> loads{0};
  bool is_exchanged_meanwhile = false;

 private:
  PictureService& inner_;
};

class CachedPicturesTest : public ::testing::Test {
 protected:
  void Start(CacheKind kind, PictureTask task = PictureTask::kDetect) {
    world_.settings.cache.kind = kind;
    world_.settings.cache.radius = kind == CacheKind::kEmbedding ? 0.5 : 4;
    world_.settings.cache.embedder = "embedder";
    ASSERT_TRUE(world_.Start({task}).ok());
    between_ = std::make_unique<BetweenPictures>(*world_.pictures);
    auto made = CachedPictures::Create(*between_, *world_.service);
    ASSERT_TRUE(made.ok()) << made.status();
    cached_ = *std::move(made);
    // The first picture opens the detectors; until then nobody knows what the model is.
    ASSERT_TRUE(Ask(Picture(20, true, 123, 77)).ok());
    between_->asked = 0;
  }
  Answer Ask(std::string bytes, PictureOptions options = {}, DrawnAs drawn = DrawnAs::kNone) {
    PictureRequest request;
    request.model = "double";
    request.options = std::move(options);
    request.drawn = drawn;
    const auto kept = std::make_shared<const std::string>(std::move(bytes));
    request.bytes = *kept;
    request.backing = kept;
    std::promise<Answer> promise;
    cached_->Answer(std::move(request),
                    [&](Answer&& answer) { promise.set_value(std::move(answer)); });
    return promise.get_future().get();
  }
  CacheHit HitOf(const Answer& answer) {
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? answer->cached : CacheHit::kNone;
  }

  test::PictureWorld world_{::testing::UnitTest::GetInstance()->current_test_info()->name()};
  std::unique_ptr<BetweenPictures> between_;
  std::unique_ptr<CachedPictures> cached_;
};

TEST_F(CachedPicturesTest, OfTheSameBytesAndWishesTheAnswerIsKept) {
  Start(CacheKind::kExact);
  const Answer first = Ask(Picture(90));
  EXPECT_EQ(HitOf(first), CacheHit::kNone);
  const Answer again = Ask(Picture(90));
  EXPECT_EQ(HitOf(again), CacheHit::kExact);
  EXPECT_EQ(between_->asked, 1);
  ASSERT_EQ(again->results.items.size(), first->results.items.size());
  EXPECT_EQ(again->results.items[0].box_px, first->results.items[0].box_px);
  EXPECT_EQ(again->results.labels->names, first->results.labels->names);
  EXPECT_EQ(again->width, 400);
  EXPECT_EQ(again->model, "double");
  EXPECT_THAT(PictureJson(*again), HasSubstr(R"("cache":{"hit":"exact","distance":0})"));
  EXPECT_EQ(CacheText(*again), "hit; kind=exact; distance=0");
  EXPECT_THAT(PictureJson(*first), ::testing::Not(HasSubstr("cache")));
  EXPECT_EQ(HitOf(Ask(Picture(60))), CacheHit::kNone) << "looks alike, and is not the same";
  EXPECT_EQ(HitOf(Ask(Picture(90), {.confidence = 0.1f})), CacheHit::kNone);
  EXPECT_EQ(Ask(Picture(90), {.confidence = 0.1f})->results.items.size(), 2u);
  EXPECT_EQ(HitOf(Ask(Picture(90), {.max_results = 1})), CacheHit::kNone);
  EXPECT_EQ(HitOf(Ask(Picture(90), {.classes = {"dog"}})), CacheHit::kNone);
  EXPECT_EQ(HitOf(Ask(Picture(90), {.classes = {"dog"}})), CacheHit::kExact);
}

TEST_F(CachedPicturesTest, IsOffUnlessTheModelSaysSo) {
  Start(CacheKind::kOff);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(HitOf(Ask(Picture(90))), CacheHit::kNone);
  EXPECT_EQ(between_->asked, 2);
}

TEST_F(CachedPicturesTest, WhatLooksAlikeIsAnsweredAlike) {
  Start(CacheKind::kPerceptual);
  EXPECT_EQ(HitOf(Ask(Picture(95))), CacheHit::kNone);
  const Answer near = Ask(Picture(60));
  EXPECT_EQ(HitOf(near), CacheHit::kPerceptual);
  EXPECT_LE(near->cached_distance, 4);
  EXPECT_EQ(HitOf(Ask(Picture(95))), CacheHit::kExact) << "by its bytes, before it is looked at";
  EXPECT_EQ(HitOf(Ask(Picture(95, true))), CacheHit::kNone) << "another picture";
  EXPECT_EQ(HitOf(Ask(Picture(95, false, 200, 150))), CacheHit::kNone)
      << "boxes are in pixels: of another size nothing is comparable";
  EXPECT_EQ(HitOf(Ask(Picture(60), {.confidence = 0.1f})), CacheHit::kNone);
  EXPECT_EQ(between_->asked, 4);
}

TEST_F(CachedPicturesTest, WhatIsNearByItsEmbeddingIsAnsweredAlike) {
  Start(CacheKind::kEmbedding);
  EXPECT_EQ(HitOf(Ask(Picture(90))), CacheHit::kNone);
  const Answer near = Ask(Picture(80));
  EXPECT_EQ(HitOf(near), CacheHit::kEmbedding);
  EXPECT_GT(near->cached_distance, 0);
}

TEST_F(CachedPicturesTest, ADrawnPictureIsNeverThatOfALookAlike) {
  Start(CacheKind::kPerceptual);
  const Answer first = Ask(Picture(95), {}, DrawnAs::kPng);
  EXPECT_EQ(HitOf(first), CacheHit::kNone);
  const Answer other = Ask(Picture(60), {}, DrawnAs::kPng);
  EXPECT_EQ(HitOf(other), CacheHit::kNone) << "it looks alike";
  EXPECT_NE(other->drawn, first->drawn);
  const Answer again = Ask(Picture(95), {}, DrawnAs::kPng);
  EXPECT_EQ(HitOf(again), CacheHit::kExact);
  EXPECT_EQ(again->drawn, first->drawn);
  EXPECT_EQ(world_.service->caches().Find("double", world_.settings.cache)->looks(), 0u);
}

TEST_F(CachedPicturesTest, ADrawnPictureIsNeverThatOfANearEmbedding) {
  Start(CacheKind::kEmbedding);
  EXPECT_EQ(HitOf(Ask(Picture(90), {}, DrawnAs::kJpeg)), CacheHit::kNone);
  EXPECT_EQ(HitOf(Ask(Picture(80), {}, DrawnAs::kJpeg)), CacheHit::kNone);
  EXPECT_EQ(HitOf(Ask(Picture(80), {}, DrawnAs::kJpeg)), CacheHit::kExact);
}

TEST_F(CachedPicturesTest, WhatCannotBeReadIsRefusedAsEver) {
  for (const CacheKind kind : {CacheKind::kPerceptual}) {
    Start(kind);
    EXPECT_TRUE(absl::IsInvalidArgument(Ask("no picture at all").status()));
    std::string cut = Picture(90);
    cut.resize(cut.size() / 2);
    EXPECT_FALSE(Ask(cut).ok());
    EXPECT_FALSE(Ask(cut).ok());
    EXPECT_EQ(world_.service->caches().Find("double", world_.settings.cache)->looks(), 0u);
  }
}

TEST_F(CachedPicturesTest, AnswersOfAModelThatWasExchangedMeanwhileAreNotKept) {
  Start(CacheKind::kExact);
  between_->is_exchanged_meanwhile = true;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(HitOf(Ask(Picture(90))), CacheHit::kNone);
  EXPECT_EQ(between_->asked, 3);
  between_->is_exchanged_meanwhile = false;
  EXPECT_EQ(HitOf(Ask(Picture(90))), CacheHit::kNone);
  EXPECT_EQ(HitOf(Ask(Picture(90))), CacheHit::kExact);
}

TEST_F(CachedPicturesTest, AfterAReloadWithOtherLabelsNoAnswerHasTheOldOnes) {
  Start(CacheKind::kExact);
  const std::vector<std::string> old_labels = world_.detector->labels;
  const std::vector<std::string> new_labels = {"lynx", "wolf"};
  ASSERT_TRUE(Ask(Picture(90)).ok());
  EXPECT_EQ(HitOf(Ask(Picture(90))), CacheHit::kExact);
  world_.detector->labels = new_labels;
  ASSERT_TRUE(world_.Reload().ok());
  const Answer fresh = Ask(Picture(90));
  EXPECT_EQ(HitOf(fresh), CacheHit::kNone);
  EXPECT_EQ(fresh->results.labels->names, new_labels);
  world_.detector->labels = {"lynx"};  // as another count of the same names
  ASSERT_TRUE(world_.Reload().ok());
  EXPECT_EQ(HitOf(Ask(Picture(90))), CacheHit::kNone);
  world_.detector->labels = old_labels;
  ASSERT_TRUE(world_.Reload().ok());
  const Answer back = Ask(Picture(90));
  EXPECT_EQ(HitOf(back), CacheHit::kExact) << "the first of all, whose labels it has again";
  EXPECT_EQ(back->results.labels->names, old_labels);
}

TEST_F(CachedPicturesTest, WhateverIsReloadedAnswersHaveTheLabelsOfTheModel) {
  Start(CacheKind::kPerceptual);
  std::mt19937 random(11);
  const std::vector<std::vector<std::string>> all = {
      {"cat", "dog"}, {"dog", "cat"}, {"catd", "og"}, {"cat", "dog", ""}, {}};
  int hits = 0;
  for (int i = 0; i < 120; ++i) {
    if (random() % 4 == 0) {
      world_.detector->labels = all[random() % all.size()];
      ASSERT_TRUE(world_.Reload().ok());
    }
    const Answer answer = Ask(Picture(random() % 2 == 0 ? 90 : 60, random() % 2 == 0));
    ASSERT_TRUE(answer.ok()) << answer.status();
    ASSERT_EQ(answer->results.labels->names, world_.detector->labels);
    hits += answer->cached != CacheHit::kNone ? 1 : 0;
  }
  EXPECT_GT(hits, 60);
}

TEST_F(CachedPicturesTest, AFailureIsNotKept) {
  Start(CacheKind::kPerceptual);
  world_.detector->fails = true;
  EXPECT_TRUE(absl::IsInternal(Ask(Picture(90)).status()));
  world_.detector->fails = false;
  EXPECT_EQ(HitOf(Ask(Picture(90))), CacheHit::kNone);
  EXPECT_EQ(HitOf(Ask(Picture(90))), CacheHit::kExact);
}

TEST_F(CachedPicturesTest, AfterTheEndPicturesGoByTheCache) {
  Start(CacheKind::kPerceptual);
  cached_->Stop();
  EXPECT_EQ(HitOf(Ask(Picture(90))), CacheHit::kNone);
}

}  // namespace
}  // namespace sightline::serve
