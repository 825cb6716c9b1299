// Models as a run opens them: how many copies, where, for which batches.
#include "pipeline/model_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace sightline {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class NamedDetector final : public Detector {
 public:
  explicit NamedDetector(int max_batch) {
    info_.max_batch = max_batch;
    info_.usual_batch = 1;
    info_.labels = std::make_shared<const LabelSet>();
  }
  const DetectorInfo& info() const override { return info_; }
  void Detect(std::span<DetectJob>) override {}

 private:
  DetectorInfo info_;
};

class ModelPoolTest : public testing::Test {
 protected:
  ModelPool Pool(int threads = 4) {
    return ModelPool(
        [this](const ModelConfig& model) -> absl::StatusOr<DetectorFactory> {
          opened_.push_back(model);
          const size_t number = opened_.size();
          made_.resize(number);
          return DetectorFactory(
              [this, number, model]() -> absl::StatusOr<std::unique_ptr<Detector>> {
                ++made_[number - 1];
                if (number == fails_) return FailedPrecondition("no such device");
                const int batch = fixed_batch_ > 0 ? fixed_batch_ : model.max_batch.value_or(1);
                return std::make_unique<NamedDetector>(batch);
              });
        },
        threads, Clock::Real());
  }
  std::vector<ModelConfig> opened_;
  std::vector<int> made_;  // detectors of each opening
  size_t fails_ = 0;       // which opening makes no detectors
  int fixed_batch_ = 0;
};

TEST_F(ModelPoolTest, InstancesGoRoundTheDevices) {
  ModelPool pool = Pool();
  const auto model = pool.Get(
      {.name = "m", .instances = 5, .devices = {"cuda:0", "cuda:1"}, .providers = {"cuda", "cpu"}});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->instances, 5);
  ASSERT_EQ(opened_.size(), 2u);
  EXPECT_THAT(opened_[0].providers, ElementsAre("cuda:0", "cpu"));
  EXPECT_THAT(opened_[1].providers, ElementsAre("cuda:1", "cpu"));
  EXPECT_THAT(made_, ElementsAre(3, 2));
}

TEST_F(ModelPoolTest, WithDevicesOneInstanceEach) {
  ModelPool pool = Pool(16);
  const auto model = pool.Get({.name = "m", .devices = {"cuda:0", "cuda:1", "cuda:2"}});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(made_, ElementsAre(1, 1, 1));
}

TEST_F(ModelPoolTest, WithoutDevicesOneInstanceACore) {
  ModelPool pool = Pool(3);
  const auto model = pool.Get({.name = "m"});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(made_, ElementsAre(3));
  EXPECT_THAT(opened_[0].providers, IsEmpty());
}

TEST_F(ModelPoolTest, ADeviceThatIsNotThereFailsTheModel) {
  ModelPool pool = Pool();
  fails_ = 2;
  EXPECT_FALSE(pool.Get({.name = "m", .devices = {"cuda:0", "cuda:9"}}).ok());
  EXPECT_THAT(pool.InUse(), IsEmpty());
}

TEST_F(ModelPoolTest, BatchesAreWhatIsAskedForAndPossible) {
  ModelPool pool = Pool();
  const auto usual = pool.Get({.name = "a"});
  EXPECT_EQ((*usual)->batcher->options().max_batch, 1);
  const auto larger =
      pool.Get({.name = "b", .max_batch = 64, .preferred_batches = {16, 64}, .instances = 2});
  EXPECT_EQ((*larger)->batcher->options().max_batch, 64);
  EXPECT_THAT((*larger)->batcher->options().preferred_sizes, ElementsAre(16, 64));
  EXPECT_EQ((*larger)->batcher->options().queue_capacity, 256u);
  fixed_batch_ = 4;
  const auto fixed = pool.Get({.name = "c", .max_batch = 64, .preferred_batches = {2, 64}});
  EXPECT_EQ((*fixed)->batcher->options().max_batch, 4);
  EXPECT_THAT((*fixed)->batcher->options().preferred_sizes, ElementsAre(2));
}

TEST_F(ModelPoolTest, OtherBatchesNeedNoOtherModel) {
  ModelPool pool = Pool();
  ModelConfig wanted{.name = "m"};
  const auto model = pool.Get(wanted);
  ASSERT_TRUE(model.ok());
  wanted.max_batch = 32;
  wanted.max_batch_delay_us = 7000;
  wanted.adaptive_batch_delay = false;
  EXPECT_EQ(*pool.Get(wanted), *model);
  EXPECT_EQ((*model)->batcher->options().max_batch, 1) << "not before it is said";
  pool.ChangeBatches({ModelConfig{.name = "other"}, wanted});
  const BatcherOptions options = (*model)->batcher->options();
  EXPECT_EQ(options.max_batch, 32);
  EXPECT_EQ(options.max_delay_us, 7000);
  EXPECT_FALSE(options.adaptive_delay);
  EXPECT_EQ(options.name, "m");
  wanted.max_batch = 33;
  EXPECT_NE(*pool.Get(wanted), *model);
  wanted.max_batch = 8;
  wanted.devices = {"cuda:0"};
  EXPECT_NE(*pool.Get(wanted), *model);
}

}  // namespace
}  // namespace sightline
