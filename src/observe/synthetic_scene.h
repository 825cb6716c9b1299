// A made-up street for the tests of reports and videos: objects walk across a striped picture, a
// few are in view at any time. The same arguments always give the same frames.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "observe/report_data.h"
#include "types/result_sink.h"

namespace sightline {

class SyntheticScene {
 public:
  SyntheticScene(int width, int height, int objects, int classes, double fps = 25)
      : width_(width), height_(height), objects_(objects), classes_(classes), fps_(fps) {
    auto camera = std::make_shared<CameraInfo>();
    camera->id = "street";
    camera_ = std::move(camera);
    auto labels = std::make_shared<LabelSet>();
    for (int i = 0; i < classes; ++i) labels->names.push_back("class " + std::to_string(i));
    labels_ = std::move(labels);
  }

  // Each object walks for 200 frames, then another with the next id comes in its place.
  FrameResult Frame(uint64_t ordinal, bool with_pixels = true) const {
    FrameResult result;
    FrameMeta& meta = result.frame.meta;
    meta.camera = camera_;
    meta.ordinal = ordinal;
    meta.width = width_;
    meta.height = height_;
    meta.time.pts_us = static_cast<int64_t>(static_cast<double>(ordinal) * 1e6 / fps_);
    meta.time.capture_utc_us = 1'767'225'600'000'000 + meta.time.pts_us;
    meta.time.clock = ClockSource::kConfigured;
    result.detections.frame = result.tracks.frame = meta;
    result.detections.labels = labels_;
    for (int i = 0; i < objects_; ++i) {
      const uint64_t walk = (ordinal + static_cast<uint64_t>(i) * 37) / 200;
      const uint64_t step = (ordinal + static_cast<uint64_t>(i) * 37) % 200;
      const float x = static_cast<float>(step) / 200 * static_cast<float>(width_);
      const float y = static_cast<float>(height_) *
                      (0.4f + 0.5f * static_cast<float>(i) / static_cast<float>(objects_));
      TrackedObject track;
      track.track_id = static_cast<int64_t>(walk) * objects_ + i + 1;
      track.state = TrackState::kConfirmed;
      track.class_id = i % classes_;
      track.confidence = 0.8f;
      track.box_px = {x, y - 0.2f * static_cast<float>(height_),
                      x + 0.08f * static_cast<float>(width_), y};
      track.detection = i;
      result.tracks.items.push_back(track);
      result.detections.items.push_back({track.box_px, 0.8f, track.class_id});
      result.detection_ids.emplace_back();
    }
    if (with_pixels) AddPicture(result);
    return result;
  }

  TrackSummary Track(int64_t track_id) const {
    TrackSummary track;
    track.camera = camera_;
    track.track_id = track_id;
    track.class_id = static_cast<int32_t>((track_id - 1) % objects_ % classes_);
    return track;
  }

  const std::shared_ptr<const CameraInfo>& camera() const { return camera_; }

 private:
  void AddPicture(FrameResult& result) const {
    const auto pixels = std::make_shared<std::vector<uint8_t>>(static_cast<size_t>(width_) *
                                                               static_cast<size_t>(height_) * 3);
    for (int y = 0; y < height_; ++y) {
      for (int x = 0; x < width_; ++x) {
        uint8_t* pixel =
            pixels->data() +
            (static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x)) * 3;
        pixel[0] = pixel[1] = pixel[2] =
            static_cast<uint8_t>(60 + 100 * y / height_ + (x * 8 / width_ % 2) * 20);
      }
    }
    ImageView& image = result.frame.image;
    image.format = PixelFormat::kBgr24;
    image.width = width_;
    image.height = height_;
    image.planes[0] = pixels->data();
    image.strides[0] = width_ * 3;
    result.frame.pixels = pixels;
  }

  int width_;
  int height_;
  int objects_;
  int classes_;
  double fps_;
  std::shared_ptr<const CameraInfo> camera_;
  std::shared_ptr<const LabelSet> labels_;
};

}  // namespace sightline
