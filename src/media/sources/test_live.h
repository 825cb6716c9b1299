// For the tests of live streams: one with its ledger, read as a test wants.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "media/sources/live_stream.h"
#include "media/test_clips.h"
#include "media/test_servers.h"

namespace sightline::test {

struct Live {
  explicit Live(const std::string& url, const LiveOptions& live = {}, FrameSelection selection = {})
      : options(OptionsFor(url)) {
    options.selection = selection;
    options.camera = std::make_shared<CameraInfo>(CameraInfo{.id = "door", .source = "cam://door"});
    absl::StatusOr<std::unique_ptr<LiveStream>> created =
        LiveStream::Create(options, ledger, MediaLimits{}, live);
    status = created.status();
    if (created.ok()) stream = *std::move(created);
  }
  absl::Status Connect() {
    if (stream) status = stream->Connect();
    return status;
  }
  // Connects and reads up to `count` frames, fewer at the end or at an error.
  std::vector<FrameMeta> Read(size_t count) {
    std::vector<FrameMeta> frames;
    if (!connected && !Connect().ok()) return frames;
    connected = true;
    while (frames.size() < count) {
      const absl::StatusOr<std::optional<Frame>> frame = stream->Next();
      status = frame.status();
      ended = frame.ok() && !frame->has_value();
      if (!frame.ok() || ended) break;
      frames.push_back((*frame)->meta);
      ledger.CountProcessed();
    }
    return frames;
  }
  std::vector<FrameMeta> ReadAll() { return Read(100'000); }
  uint64_t dropped(DropReason reason) const {
    return ledger.Snapshot().dropped[static_cast<size_t>(reason)];
  }

  FrameLedger ledger;
  SourceOptions options;
  absl::Status status;
  std::unique_ptr<LiveStream> stream;
  bool connected = false;
  bool ended = false;
};

// What holds for whatever was read.
inline void ExpectLiveLaws(const std::vector<FrameMeta>& frames, const Live& live) {
  EXPECT_EQ(live.ledger.Snapshot().in_flight(), 0);
  for (size_t i = 1; i < frames.size(); ++i) {
    const FrameMeta& before = frames[i - 1];
    const FrameMeta& now = frames[i];
    EXPECT_LT(before.ordinal, now.ordinal);
    EXPECT_LE(before.time.epoch, now.time.epoch);
    if (before.time.epoch != now.time.epoch) continue;
    EXPECT_LT(before.time.pts_us, now.time.pts_us);
    EXPECT_LT(before.time.capture_utc_us, now.time.capture_utc_us);
  }
}

}  // namespace sightline::test
