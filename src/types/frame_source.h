// Where frames come from: the interface of files, folders, cameras and simulators.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "base/uuid.h"
#include "types/camera.h"
#include "types/frame.h"

namespace sightline {

// Which frames are worth decoding. A source applies this before decoding where the codec allows.
// Both may be set; a frame is kept when both keep it.
struct FrameSelection {
  int every_nth = 1;      // keep frames 0, n, 2n, ...
  double target_fps = 0;  // keep at most this many a second of stream time; 0 = all
};

struct SourceOptions {
  std::shared_ptr<const CameraInfo> camera;
  std::string url;  // path, glob, folder or URL, secrets resolved
  FrameSelection selection;
  std::optional<int64_t> start_utc_us;  // capture time of the first frame, when configured
  int decode_threads = 1;
};

// What `explain` and the outputs need to know once a source is open.
struct SourceInfo {
  std::string container;  // "avi", "mov,mp4", "image", ...
  std::string codec;      // "h264", ...
  int width = 0;
  int height = 0;
  double fps = 0;               // average; 0 when unknown
  int64_t duration_us = 0;      // 0 when unknown
  int64_t frames_estimate = 0;  // 0 when unknown; for progress only
  bool live = false;            // live sources drop, recorded ones never do
  ClockSource clock = ClockSource::kEpoch;
  // Of a recording's content, stable when the file is moved: it enters the ids, so that two clips
  // analysed under one camera name never share any. Zero for live sources.
  Hash128 fingerprint;
};

// A source counts into the ledger: every frame that the stream holds as `in`, those that the
// selection leaves out as skipped, those that cannot be decoded as dropped. A frame that Next()
// returns is then the caller's to count.
//
// Threads: one thread reads; Cancel() may come from any thread and makes Next() return soon.
class FrameSource {
 public:
  virtual ~FrameSource() = default;
  virtual const SourceInfo& info() const = 0;
  // The next selected frame; nullopt at the end of the stream. An error means that the source cannot
  // go on (unreadable, cancelled); damage within a stream is counted and passed over.
  virtual absl::StatusOr<std::optional<Frame>> Next() = 0;
  virtual void Cancel() = 0;
};

}  // namespace sightline
