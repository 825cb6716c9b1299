#include "sim/sim_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "types/truth.h"

namespace sightline::sim {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kSecond = 1'000'000;

// Time that goes on only while somebody waits for it.
class TestClock final : public Clock {
 public:
  int64_t NowUtcUs() const override { return 1'700'000'000'000'000 + now_us.load(); }
  int64_t NowMonotonicUs() const override { return 5 * kSecond + now_us.load(); }
  std::atomic<int64_t> now_us{0};
};

SourceOptions OptionsFor(const std::string& query) {
  SourceOptions options;
  options.camera = std::make_shared<const CameraInfo>(CameraInfo{.id = "cam"});
  options.url = "sim://street?people=3&bicycles=0&cars=0&size=64x48&fps=10&" + query;
  return options;
}

struct Seen {
  FrameMeta meta;
  Hash128 pixels;
  bool has_truth = false;
};

// A camera with its clock, read as a supervisor would.
class SimSourceTest : public ::testing::Test {
 protected:
  absl::Status Connect(const std::string& query, FrameSelection selection = {}) {
    SourceOptions options = OptionsFor(query);
    options.selection = selection;
    if (camera_ == nullptr) {
      camera_ = std::make_shared<SimCamera>(ParseSimUrl(options.url).value());
    }
    auto source = SimSource::Create(
        options, ledger_,
        {.clock = &clock_,
         .give_up = [this] { return give_up_after_us_ > 0 && clock_.now_us > give_up_after_us_; },
         .sleep = [this](int64_t us) { clock_.now_us += us; },
         .camera = camera_});
    if (!source.ok()) return source.status();
    source_ = *std::move(source);
    return absl::OkStatus();
  }

  // Reads until the end, an error, or so many frames.
  absl::Status Read(size_t most = SIZE_MAX) {
    for (size_t i = 0; i < most; ++i) {
      absl::StatusOr<std::optional<Frame>> next = source_->Next();
      if (!next.ok()) return next.status();
      if (!next->has_value()) {
        ended_ = true;
        break;
      }
      const Frame& frame = **next;
      Seen seen{.meta = frame.meta, .has_truth = frame.truth != nullptr};
      if (frame.pixels != nullptr) {
        for (int y = 0; y < frame.image.height; ++y) {
          const uint8_t* row =
              frame.image.planes[0] + static_cast<int64_t>(y) * frame.image.strides[0];
          const auto bytes = static_cast<size_t>(frame.image.width);
          seen.pixels = FieldHasher().Add(seen.pixels).Add(HashBytes({row, bytes})).Finish();
        }
      }
      ledger_.CountProcessed();
      seen_.push_back(seen);
    }
    return absl::OkStatus();
  }

  void ExpectLedger(uint64_t in, uint64_t processed, uint64_t skipped, uint64_t damaged,
                    uint64_t late) {
    const FrameCounts counts = ledger_.Snapshot();
    EXPECT_EQ(counts.in_flight(), 0);
    EXPECT_EQ(counts.frames_in, in);
    EXPECT_EQ(counts.processed, processed);
    EXPECT_EQ(counts.total_skipped(), skipped);
    EXPECT_EQ(counts.dropped[static_cast<size_t>(DropReason::kDecodeError)], damaged);
    EXPECT_EQ(counts.dropped[static_cast<size_t>(DropReason::kLate)], late);
  }

  TestClock clock_;
  FrameLedger ledger_;
  std::shared_ptr<SimCamera> camera_;
  std::unique_ptr<SimSource> source_;
  std::vector<Seen> seen_;
  int64_t give_up_after_us_ = 0;
  bool ended_ = false;
};

TEST_F(SimSourceTest, ALiveCameraKeepsToItsClock) {
  ASSERT_TRUE(Connect("duration=3s").ok());
  EXPECT_TRUE(source_->info().live);
  EXPECT_EQ(source_->info().fingerprint, Hash128());
  ASSERT_TRUE(Read(11).ok());
  EXPECT_EQ(clock_.now_us, 1 * kSecond);
  EXPECT_EQ(seen_[10].meta.time.pts_us, 1 * kSecond);
  EXPECT_EQ(seen_[10].meta.time.capture_utc_us, 1'700'000'001'000'000);
  EXPECT_EQ(seen_[10].meta.time.clock, ClockSource::kSender);
  ASSERT_TRUE(Read().ok());
  EXPECT_TRUE(ended_);
  EXPECT_EQ(clock_.now_us, 3 * kSecond);
  ExpectLedger(30, 30, 0, 0, 0);
  EXPECT_TRUE(absl::IsUnavailable(Connect(""))) << "switched off";
}

TEST_F(SimSourceTest, ARecordingWaitsForNobody) {
  ASSERT_TRUE(Connect("pace=none&duration=5s&start=2026-01-31T12:00:00Z").ok());
  EXPECT_FALSE(source_->info().live);
  EXPECT_NE(source_->info().fingerprint, Hash128());
  EXPECT_EQ(source_->info().frames_estimate, 50);
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(clock_.now_us, 0);
  ASSERT_EQ(seen_.size(), 50u);
  EXPECT_EQ(seen_[20].meta.time.capture_utc_us, 1'769'860'800'000'000 + 2 * kSecond);
  EXPECT_EQ(seen_[20].meta.time.clock, ClockSource::kConfigured);
  EXPECT_NE(seen_[20].pixels, seen_[21].pixels);
}

TEST_F(SimSourceTest, TheSelectionIsCounted) {
  ASSERT_TRUE(Connect("pace=none&duration=5s", {.every_nth = 5}).ok());
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(seen_.size(), 10u);
  EXPECT_EQ(seen_[1].meta.ordinal, 5u);
  ExpectLedger(50, 10, 40, 0, 0);
}

TEST_F(SimSourceTest, WithoutPixelsThereIsSizeTimeAndTruth) {
  ASSERT_TRUE(Connect("pace=none&duration=5s&render=none").ok());
  auto next = source_->Next();
  ASSERT_TRUE(next.ok() && next->has_value());
  EXPECT_EQ((*next)->pixels, nullptr);
  EXPECT_EQ((*next)->image.width, 0);
  EXPECT_EQ((*next)->meta.width, 64);
  EXPECT_NE((*next)->truth, nullptr);
  ledger_.CountProcessed();
}

TEST_F(SimSourceTest, AReaderThatIsTooLateLosesWhatWasMoreThanASecondAgo) {
  ASSERT_TRUE(Connect("").ok());
  ASSERT_TRUE(Read(1).ok());
  clock_.now_us += 3 * kSecond;
  ASSERT_TRUE(Read(1).ok());
  EXPECT_EQ(seen_.back().meta.time.pts_us, 2 * kSecond);
  ExpectLedger(21, 2, 0, 0, 19);
}

TEST_F(SimSourceTest, ACutEndsTheConnectionAndLaterTheWorldHasGoneOn) {
  const char* const url = "faults=cut@2s+3s";
  ASSERT_TRUE(Connect(url).ok());
  const absl::Status cut = Read();
  EXPECT_TRUE(absl::IsUnavailable(cut)) << cut;
  EXPECT_THAT(std::string(MessageOf(cut)), HasSubstr("cut@2s"));
  EXPECT_EQ(seen_.size(), 20u);
  EXPECT_EQ(clock_.now_us, 2 * kSecond);
  EXPECT_TRUE(absl::IsUnavailable(Connect(url)));
  clock_.now_us = 5 * kSecond - 1;
  EXPECT_TRUE(absl::IsUnavailable(Connect(url)));
  clock_.now_us = 5 * kSecond;
  ASSERT_TRUE(Connect(url).ok());
  ASSERT_TRUE(Read(1).ok());
  EXPECT_EQ(seen_.back().meta.time.pts_us, 0) << "of the new connection";
  EXPECT_EQ(seen_.back().meta.time.capture_utc_us, 1'700'000'005'000'000);
  ExpectLedger(21, 21, 0, 0, 0);
}

TEST_F(SimSourceTest, ARefusalIsOneOfThePassword) {
  ASSERT_TRUE(Connect("faults=refuse@1s+2s").ok());
  EXPECT_TRUE(absl::IsUnauthenticated(Read()));
  EXPECT_TRUE(absl::IsUnauthenticated(Connect("")));
  clock_.now_us = 3 * kSecond;
  EXPECT_TRUE(Connect("").ok());
}

TEST_F(SimSourceTest, AStallHoldsTheReaderUntilItIsOver) {
  ASSERT_TRUE(Connect("faults=stall@1s+4s&duration=6s").ok());
  ASSERT_TRUE(Read(11).ok());
  EXPECT_EQ(clock_.now_us, 5 * kSecond);
  EXPECT_EQ(seen_[9].meta.time.pts_us, 900'000);
  EXPECT_EQ(seen_[10].meta.time.pts_us, 5 * kSecond);
  ASSERT_TRUE(Read().ok());
  ExpectLedger(20, 20, 0, 0, 0);
}

TEST_F(SimSourceTest, WhoeverWaitsMayGiveUp) {
  give_up_after_us_ = 3 * kSecond;
  ASSERT_TRUE(Connect("faults=stall@1s+1h").ok());
  const absl::Status status = Read();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_LT(clock_.now_us, 3 * kSecond + 100'000);
  EXPECT_EQ(seen_.size(), 10u);
}

TEST_F(SimSourceTest, AFrozenCameraShowsTheSamePictureWithNewStamps) {
  ASSERT_TRUE(Connect("faults=freeze@2s+1s&duration=4s").ok());
  ASSERT_TRUE(Read().ok());
  ASSERT_EQ(seen_.size(), 40u);
  for (size_t k = 20; k < 30; ++k) EXPECT_EQ(seen_[k].pixels, seen_[19].pixels) << k;
  EXPECT_NE(seen_[30].pixels, seen_[19].pixels);
  EXPECT_NE(seen_[18].pixels, seen_[19].pixels);
  EXPECT_EQ(seen_[25].meta.time.pts_us, 2'500'000);
}

TEST_F(SimSourceTest, GarbageIsCountedAndPassedOver) {
  ASSERT_TRUE(Connect("faults=garbage@1s+1s&duration=4s", {.every_nth = 2}).ok());
  ASSERT_TRUE(Read().ok());
  ExpectLedger(40, 15, 20, 5, 0);
}

TEST_F(SimSourceTest, ASlowCameraSendsAPart) {
  ASSERT_TRUE(Connect("faults=slow@1s+4s:0.25x&duration=6s").ok());
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(seen_.size(), 30u);
  ExpectLedger(30, 30, 0, 0, 0);
}

TEST_F(SimSourceTest, TheSizeMayChangeAndChangeBack) {
  ASSERT_TRUE(Connect("faults=resize@1s+1s:128x96&duration=3s").ok());
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(seen_[9].meta.width, 64);
  EXPECT_EQ(seen_[10].meta.width, 128);
  EXPECT_EQ(seen_[19].meta.height, 96);
  EXPECT_EQ(seen_[20].meta.width, 64);
}

TEST_F(SimSourceTest, TheClockStepsAndTheStampsGoOn) {
  ASSERT_TRUE(Connect("faults=clockstep@1s:%2B1h,clockstep@2s:-30m&duration=3s").ok());
  ASSERT_TRUE(Read().ok());
  const auto capture = [&](size_t k) { return seen_[k].meta.time.capture_utc_us; };
  EXPECT_EQ(capture(9) - capture(0), 900'000);
  EXPECT_EQ(capture(10) - capture(9), 100'000 + 3600 * kSecond);
  EXPECT_EQ(capture(20) - capture(19), 100'000 - 1800 * kSecond);
  EXPECT_EQ(seen_[20].meta.time.pts_us, 2 * kSecond);
}

TEST_F(SimSourceTest, AWrapBeginsAnEpoch) {
  ASSERT_TRUE(Connect("faults=wrap@1s,wrap@2s&duration=3s").ok());
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(seen_[9].meta.time.epoch, 0u);
  EXPECT_EQ(seen_[10].meta.time.epoch, 1u);
  EXPECT_EQ(seen_[10].meta.time.pts_us, 0);
  EXPECT_EQ(seen_[29].meta.time.epoch, 2u);
  EXPECT_EQ(seen_[29].meta.time.pts_us, 900'000);
  for (size_t k = 1; k < 30; ++k) {
    EXPECT_EQ(seen_[k].meta.time.capture_utc_us - seen_[k - 1].meta.time.capture_utc_us, 100'000);
  }
}

TEST_F(SimSourceTest, ADayOfEveryFaultLosesNoFrameUncounted) {
  const char* const url =
      "render=none&faults=cut@1h+3s,stall@2h+1m,garbage@3h+5s,freeze@4h+1h,slow@6h+1h:0.1x,"
      "refuse@8h+10s,clockstep@9h:-1h,wrap@10h,resize@11h:100x80&duration=24h";
  absl::Status status;
  int connections = 0;
  while (!ended_) {
    status = Connect(url);
    ++connections;
    ASSERT_LT(connections, 100);
    if (status.ok()) status = Read();
    if (!status.ok()) clock_.now_us += kSecond;
    seen_.clear();
  }
  // 24 h less 3 s, 60 s, 10 s and nine tenths of an hour, at 10 a second; an attempt a second.
  ExpectLedger(864'000 - 30 - 600 - 100 - 32'400, 864'000 - 30 - 600 - 100 - 32'400 - 50, 0, 50, 0);
}

TEST_F(SimSourceTest, ARecordingSkipsWhatACutKeepsBack) {
  const char* const url = "pace=none&duration=5s&faults=cut@2s+1s,stall@4s+0.5s";
  ASSERT_TRUE(Connect(url).ok());
  EXPECT_TRUE(absl::IsUnavailable(Read()));
  EXPECT_EQ(seen_.size(), 20u);
  ASSERT_TRUE(Connect(url).ok());
  ASSERT_TRUE(Read().ok());
  EXPECT_TRUE(ended_);
  EXPECT_EQ(seen_.size(), 35u);
}

TEST(SimSource, CancelWakesAReaderOnTheRealClock) {
  FrameLedger ledger;
  auto source = SimSource::Create(OptionsFor("faults=stall@0s+1h"), ledger);
  ASSERT_TRUE(source.ok()) << source.status();
  absl::Status status;
  std::thread reader([&] { status = (*source)->Next().status(); });
  (*source)->Cancel();
  reader.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(absl::IsCancelled((*source)->Next().status()));
}

TEST(SimSource, FramesOutliveTheSource) {
  FrameLedger ledger;
  auto source = SimSource::Create(OptionsFor("pace=none"), ledger);
  ASSERT_TRUE(source.ok());
  auto frame = (*source)->Next();
  source->reset();
  ASSERT_TRUE(frame.ok() && frame->has_value());
  EXPECT_GT((*frame)->image.planes[0][5], 0);
  EXPECT_EQ((*frame)->truth->seed, 1u);
}

TEST(SimSource, ARecordingBeginsAtItsBeginningWheneverItIsOpened) {
  FrameLedger ledger;
  for (int i = 0; i < 2; ++i) {
    auto source = SimSource::Create(OptionsFor("pace=none&duration=1s"), ledger);
    ASSERT_TRUE(source.ok());
    auto next = (*source)->Next();
    ASSERT_TRUE(next.ok() && next->has_value());
    EXPECT_EQ((*next)->meta.time.pts_us, 0);
  }
  EXPECT_TRUE(absl::IsInvalidArgument(SimSource::Create(OptionsFor("x=y"), ledger).status()));
}

}  // namespace
}  // namespace sightline::sim
