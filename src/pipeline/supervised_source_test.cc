#include "pipeline/supervised_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <thread>
#include <vector>

namespace sightline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kSecond = 1'000'000;

class TestClock final : public Clock {
 public:
  int64_t NowUtcUs() const override { return 1'700'000'000 * kSecond + now_us; }
  int64_t NowMonotonicUs() const override { return now_us; }
  int64_t now_us = 0;
};

// What a connection does next, one step a read.
struct Step {
  enum Kind { kFrame, kSkipped, kDamaged, kSilence, kError, kEnd } kind = kFrame;
  int64_t after_us = 40'000;
  absl::Status error = {};
  uint32_t epoch = 0;
  uint8_t picture = 0;  // what it shows; 0: always another
};
struct Script {
  absl::Status connect = {};  // when it fails, nothing else counts
  std::vector<Step> steps = {};
};

// A camera whose connections follow scripts; the last script is repeated.
class Camera {
 public:
  Camera() { options.jitter = 0; }

  std::unique_ptr<SupervisedSource> Make() {
    SupervisedSource::Parts parts;
    parts.camera = std::make_shared<const CameraInfo>(CameraInfo{.id = "gate", .source = ""});
    parts.ledger = &ledger;
    parts.connect = [this](const ConnectRequest& request) { return Connect(request.give_up); };
    parts.info.live = true;
    parts.supervision = options;
    parts.on_change = [this](const CameraStateChange& change) { changes.push_back(change); };
    parts.clock = &clock;
    parts.wait = [this](int64_t wait_us) { clock.now_us += std::max<int64_t>(wait_us, 1); };
    return std::make_unique<SupervisedSource>(std::move(parts));
  }

  std::vector<std::string> States() const {
    std::vector<std::string> states;
    for (const CameraStateChange& change : changes) states.emplace_back(ToString(change.to));
    return states;
  }

  TestClock clock;
  FrameLedger ledger;
  SupervisorOptions options;
  std::vector<Script> scripts;
  std::vector<CameraStateChange> changes;
  std::vector<int64_t> connected_at_us;
  std::function<void()> on_counted;  // a frame came in

 private:
  class Connection final : public FrameSource {
   public:
    Connection(Camera* camera, Script script, std::function<bool()> give_up)
        : camera_(camera), script_(std::move(script)), give_up_(std::move(give_up)) {
      info_.live = true;
    }
    const SourceInfo& info() const override { return info_; }
    void Cancel() override {}

    absl::StatusOr<std::optional<Frame>> Next() override {
      while (true) {
        const Step step = at_ < script_.steps.size() ? script_.steps[at_++] : script_.steps.back();
        if (!Pass(step.kind == Step::kSilence ? 3600 * kSecond : step.after_us)) {
          return Unavailable("given up");
        }
        switch (step.kind) {
          case Step::kError:
            return step.error;
          case Step::kEnd:
            return std::optional<Frame>();
          case Step::kSilence:
            continue;
          default:
            break;
        }
        camera_->ledger.CountIn();
        if (camera_->on_counted) camera_->on_counted();
        const uint64_t ordinal = ordinal_++;
        if (step.kind == Step::kSkipped) camera_->ledger.CountSkipped(SkipReason::kEveryNth);
        if (step.kind == Step::kDamaged) camera_->ledger.CountDropped(DropReason::kDecodeError);
        if (step.kind != Step::kFrame) continue;
        picture_ = step.picture != 0 ? step.picture : static_cast<uint8_t>(ordinal % 250 + 1);
        Frame frame;
        frame.meta.ordinal = ordinal;
        frame.meta.time.epoch = step.epoch;
        frame.image = {.format = PixelFormat::kGray8, .width = 1, .height = 1};
        frame.image.planes[0] = &picture_;
        frame.image.strides[0] = 1;
        return frame;
      }
    }

   private:
    // Lets time pass as a blocking read does; false when it was given up.
    bool Pass(int64_t wait_us) {
      constexpr int64_t kPoll = 50'000;
      for (; wait_us > 0; wait_us -= kPoll) {
        camera_->clock.now_us += std::min(wait_us, kPoll);
        if (give_up_()) return false;
      }
      return true;
    }

    Camera* const camera_;
    const Script script_;
    const std::function<bool()> give_up_;
    SourceInfo info_;
    size_t at_ = 0;
    uint64_t ordinal_ = 0;
    uint8_t picture_ = 0;
  };

  absl::StatusOr<std::unique_ptr<FrameSource>> Connect(const std::function<bool()>& give_up) {
    connected_at_us.push_back(clock.now_us);
    const Script& script = scripts[std::min(scripts.size(), connected_at_us.size()) - 1];
    SL_RETURN_IF_ERROR(script.connect);
    return std::make_unique<Connection>(this, script, give_up);
  }
};

Frame NextFrame(SupervisedSource& source) {
  absl::StatusOr<std::optional<Frame>> next = source.Next();
  EXPECT_TRUE(next.ok()) << next.status();
  EXPECT_TRUE(next.ok() && next->has_value());
  return next.ok() && next->has_value() ? **next : Frame();
}

TEST(SupervisedSource, GoesOnInANewEpochAfterAFault) {
  Camera camera;
  camera.scripts = {
      {.steps = {{}, {.epoch = 1}, {.kind = Step::kError, .error = Unavailable("reset")}}},
      {.steps = {{}}}};
  const auto source = camera.Make();
  std::vector<uint32_t> epochs;
  std::vector<uint64_t> ordinals;
  for (int i = 0; i < 4; ++i) {
    const Frame frame = NextFrame(*source);
    epochs.push_back(frame.meta.time.epoch);
    ordinals.push_back(frame.meta.ordinal);
  }
  EXPECT_THAT(epochs, ElementsAre(0, 1, 2, 2));
  EXPECT_THAT(ordinals, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(camera.States(), ElementsAre("connecting", "live", "backing_off", "live"));
  EXPECT_EQ(camera.changes[2].reason, "reset");
  EXPECT_EQ(camera.changes[2].from, CameraState::kLive);
  EXPECT_EQ(camera.changes[3].gap_us, 40'000 + 250'000 + 40'000);
  EXPECT_EQ(camera.changes[3].attempts, 2u);
  EXPECT_EQ(camera.changes[3].epoch, 2u);
  EXPECT_EQ(source->state(), CameraState::kLive);
}

TEST(SupervisedSource, FindsAStallWithoutASecondThread) {
  Camera camera;
  camera.scripts = {{.steps = {{}, {.kind = Step::kSilence}}}, {.steps = {{}}}};
  const auto source = camera.Make();
  NextFrame(*source);
  NextFrame(*source);
  EXPECT_THAT(camera.States(), ElementsAre("connecting", "live", "stalled", "backing_off", "live"));
  EXPECT_EQ(camera.changes[3].reason, "nothing came for 2 s");
  EXPECT_LE(camera.changes[2].utc_us - camera.changes[1].utc_us, 2'100'000);
}

// Every n-th frame only: what is left out is a sign of life all the same.
TEST(SupervisedSource, SkippedFramesAreNoStall) {
  Camera camera;
  Script script;
  for (int i = 0; i < 5; ++i) {
    script.steps.push_back({});
    for (int k = 0; k < 200; ++k) script.steps.push_back({.kind = Step::kSkipped});
  }
  camera.scripts = {script};
  const auto source = camera.Make();
  for (int i = 0; i < 5; ++i) NextFrame(*source);
  EXPECT_THAT(camera.States(), ElementsAre("connecting", "live"));
}

// Garbage that arrives on time is no life.
TEST(SupervisedSource, WhatCannotBeDecodedIsAStall) {
  Camera camera;
  camera.scripts = {{.steps = {{}, {.kind = Step::kDamaged}}}, {.steps = {{}}}};
  const auto source = camera.Make();
  NextFrame(*source);
  NextFrame(*source);
  EXPECT_THAT(camera.States(), ElementsAre("connecting", "live", "stalled", "backing_off", "live"));
}

// A stream joined in the middle brings data for a while before its first key frame.
TEST(SupervisedSource, WaitsLongForTheFirstKeyFrame) {
  Camera camera;
  Script script;
  for (int k = 0; k < 25 * 30; ++k) script.steps.push_back({.kind = Step::kDamaged});
  script.steps.push_back({});
  camera.scripts = {script};
  const auto source = camera.Make();
  NextFrame(*source);
  EXPECT_THAT(camera.States(), ElementsAre("connecting", "live"));
}

TEST(SupervisedSource, SaysThatThePictureIsFrozen) {
  Camera camera;
  Script script;
  script.steps.push_back({});
  for (int k = 0; k < 25 * 12; ++k) script.steps.push_back({.picture = 251});
  script.steps.push_back({});
  camera.scripts = {script};
  const auto source = camera.Make();
  for (size_t i = 0; i < script.steps.size(); ++i) NextFrame(*source);
  EXPECT_THAT(camera.States(), ElementsAre("connecting", "live", "frozen", "live"));
  EXPECT_EQ(camera.changes[2].reason, "the picture does not change");
}

TEST(SupervisedSource, DoesNotHammerARefusingCamera) {
  Camera camera;
  camera.scripts = {{.connect = Unauthenticated("wrong password")},
                    {.connect = Unauthenticated("wrong password")},
                    {.steps = {{}}}};
  const auto source = camera.Make();
  NextFrame(*source);
  EXPECT_THAT(camera.connected_at_us, ElementsAre(0, 30 * kSecond, 90 * kSecond));
  EXPECT_THAT(camera.States(), ElementsAre("connecting", "backing_off", "live")) << "told once";
}

TEST(SupervisedSource, EndsWithWhatCannotBeMended) {
  Camera camera;
  camera.scripts = {{.connect = Unimplemented("no decoder for codec xyz")}};
  const auto source = camera.Make();
  const auto next = source->Next();
  ASSERT_FALSE(next.ok());
  EXPECT_THAT(std::string(next.status().message()), HasSubstr("no decoder for codec xyz"));
  EXPECT_EQ(source->state(), CameraState::kFailed);
  EXPECT_EQ(camera.connected_at_us.size(), 1u);
}

TEST(SupervisedSource, ALiveStreamThatEndsIsConnectedAgain) {
  Camera camera;
  camera.scripts = {{.steps = {{}, {.kind = Step::kEnd}}}, {.steps = {{}}}};
  const auto source = camera.Make();
  NextFrame(*source);
  NextFrame(*source);
  EXPECT_THAT(camera.States(), ElementsAre("connecting", "live", "backing_off", "live"));
}

TEST(SupervisedSource, CancelEndsAReadInTheMiddle) {
  Camera camera;
  camera.scripts = {{.steps = {{}, {.kind = Step::kSilence}}}};
  // Simulated time runs ahead of the other thread, however late that one comes.
  camera.options.stall_after_us = int64_t{1} << 60;
  const auto source = camera.Make();
  NextFrame(*source);
  std::thread other([&] { source->Cancel(); });
  const auto next = source->Next();
  other.join();
  EXPECT_TRUE(absl::IsCancelled(next.status())) << next.status();
}

TEST(SupervisedSource, AFrameThatWasReadWhenItIsCancelledIsHandedOn) {
  Camera camera;
  camera.scripts = {{.steps = {{}}}};
  SupervisedSource* running = nullptr;
  camera.on_counted = [&] { running->Cancel(); };
  const auto source = camera.Make();
  running = source.get();
  NextFrame(*source);
  EXPECT_EQ(camera.ledger.Snapshot().in_flight(), 1) << "it is the caller's";
  EXPECT_TRUE(absl::IsCancelled(source->Next().status()));
  EXPECT_EQ(camera.ledger.Snapshot().frames_in, 1);
}

// Waits for real, so that the wake-up itself is tested.
TEST(SupervisedSource, CancelAndRetryNowEndAWait) {
  FrameLedger ledger;
  std::atomic<int> attempts{0};
  SupervisedSource::Parts parts;
  parts.camera = std::make_shared<const CameraInfo>(CameraInfo{.id = "gate", .source = ""});
  parts.ledger = &ledger;
  parts.connect = [&](const auto&) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
    ++attempts;
    attempts.notify_all();
    return Unauthenticated("wrong password");  // half a minute
  };
  SupervisedSource source(std::move(parts));
  absl::StatusOr<std::optional<Frame>> next = std::optional<Frame>();
  std::thread reader([&] { next = source.Next(); });
  attempts.wait(0);
  source.RetryNow();
  attempts.wait(1);
  source.Cancel();
  reader.join();
  EXPECT_EQ(attempts, 2);
  EXPECT_TRUE(absl::IsCancelled(next.status()));
}

}  // namespace
}  // namespace sightline
