#include "pipeline/deliver_lane.h"

#include <gtest/gtest.h>

#include <semaphore>
#include <vector>

namespace sightline {
namespace {

// Writes results when it is let.
class SlowSink final : public ResultSink {
 public:
  std::string_view name() const override { return "slow"; }
  absl::Status Write(const FrameResult&) override {
    began.release();
    go_on.acquire();
    return absl::OkStatus();
  }
  absl::Status WriteCameraState(const CameraStateChange& change) override {
    states.push_back(change.attempts);
    return absl::OkStatus();
  }
  absl::Status Close() override { return absl::OkStatus(); }

  std::counting_semaphore<> began{0}, go_on{0};
  std::vector<uint64_t> states;
};

std::shared_ptr<const CameraStateChange> State(uint64_t attempts) {
  static const auto camera = std::make_shared<const CameraInfo>();
  return std::make_shared<const CameraStateChange>(
      CameraStateChange{.camera = camera, .attempts = attempts});
}

std::shared_ptr<const FrameResult> Result() {
  auto result = std::make_shared<FrameResult>();
  result->frame.meta.camera = std::make_shared<const CameraInfo>();
  return result;
}

// Who reads a camera sends its states, and must not be held up by an output that is.
TEST(DeliverLane, StatesOfCamerasNeverWait) {
  auto lane =
      DeliverLane::Create({.name = "rows", .capacity = 1, .on_error = [](const absl::Status&) {}});
  ASSERT_TRUE(lane.ok()) << lane.status();
  auto owned = std::make_unique<SlowSink>();
  SlowSink& sink = *owned;
  std::vector<LaneSink> sinks;
  sinks.push_back({.key = "slow", .camera = {}, .sink = std::move(owned)});
  (*lane)->Change({}, std::move(sinks));
  (*lane)->Send(Result());
  sink.began.acquire();     // it is at it,
  (*lane)->Send(Result());  // and the queue is full
  for (uint64_t i = 0; i < DeliverLane::kMostStates + 7; ++i) (*lane)->Send(State(i));
  EXPECT_EQ((*lane)->stats().dropped, 7u);
  sink.go_on.release();
  sink.began.acquire();  // at the second result; the states came before it
  const std::vector<uint64_t> states = sink.states;
  sink.go_on.release();
  EXPECT_TRUE((*lane)->Finish().ok());
  ASSERT_EQ(states.size(), DeliverLane::kMostStates);
  EXPECT_EQ(states.front(), 7u);
  EXPECT_EQ(states.back(), DeliverLane::kMostStates + 6);
}

}  // namespace
}  // namespace sightline
