#include "observe/video_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "observe/canvas.h"
#include "observe/synthetic_scene.h"

namespace sightline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Recording {
  std::vector<int64_t> pts_us;
  std::vector<std::pair<int, int>> sizes;
  std::vector<uint8_t> last;
  int opened = 0;
  int closed = 0;
  absl::Status answer;
};

class RecordingWriter final : public PictureWriter {
 public:
  explicit RecordingWriter(Recording* recording) : recording_(recording) {}
  absl::Status Write(const ImageView& picture, int64_t pts_us) override {
    recording_->pts_us.push_back(pts_us);
    recording_->sizes.emplace_back(picture.width, picture.height);
    recording_->last.clear();
    for (int y = 0; y < picture.height; ++y) {
      const uint8_t* row = picture.planes[0] + y * picture.strides[0];
      recording_->last.insert(recording_->last.end(), row, row + picture.width * 3);
    }
    return recording_->answer;
  }
  absl::Status Close() override {
    ++recording_->closed;
    return absl::OkStatus();
  }

 private:
  Recording* recording_;
};

std::unique_ptr<VideoSink> MakeSink(Recording* recording, std::vector<ReportRule> rules = {}) {
  VideoSinkOptions options;
  options.camera_id = "street";
  options.rules = [rules = std::move(rules)](int, int) { return rules; };
  options.open = [recording](int, int) -> absl::StatusOr<std::unique_ptr<PictureWriter>> {
    ++recording->opened;
    return std::make_unique<RecordingWriter>(recording);
  };
  return *VideoSink::Create(std::move(options));
}

TEST(VideoSink, DrawsTheObjectsAndLeavesTheFrameAlone) {
  Recording recording;
  const auto sink = MakeSink(&recording);
  const FrameResult frame = SyntheticScene(320, 240, 1, 1).Frame(100);
  const std::vector<uint8_t> before(frame.frame.image.planes[0],
                                    frame.frame.image.planes[0] + 320 * 240 * 3);
  ASSERT_TRUE(sink->Write(frame).ok());
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_TRUE(std::equal(before.begin(), before.end(), frame.frame.image.planes[0]));
  // The left edge of the box has the track's colour.
  const Box& box = frame.tracks.items[0].box_px;
  const size_t at =
      (static_cast<size_t>((box.y1 + box.y2) / 2) * 320 + static_cast<size_t>(box.x1)) * 3;
  const Color color = PaletteColor(frame.tracks.items[0].track_id);
  EXPECT_EQ(recording.last[at], color.b);
  EXPECT_EQ(recording.last[at + 1], color.g);
  EXPECT_EQ(recording.last[at + 2], color.r);
  EXPECT_EQ(recording.closed, 1);
}

TEST(VideoSink, TimeRisesThroughDiscontinuities) {
  Recording recording;
  const auto sink = MakeSink(&recording);
  const SyntheticScene scene(64, 48, 1, 1);
  const auto write = [&](int64_t pts_us, uint32_t epoch) {
    FrameResult frame = scene.Frame(0);
    frame.frame.meta.time.pts_us = pts_us;
    frame.frame.meta.time.epoch = epoch;
    EXPECT_TRUE(sink->Write(frame).ok());
  };
  write(0, 0);
  write(20'000, 0);
  write(0, 1);
  write(20'000, 1);
  write(5'000'000'000, 2);
  write(5'000'020'000, 2);
  EXPECT_THAT(recording.pts_us, ElementsAre(0, 20'000, 40'000, 60'000, 80'000, 100'000));
}

TEST(VideoSink, TheSizeStaysThatOfTheFirstFrameAndEven) {
  Recording recording;
  const auto sink = MakeSink(&recording);
  for (const auto& [width, height] : {std::pair(321, 241), std::pair(1920, 1080),
                                      std::pair(60, 400), std::pair(1, 1), std::pair(320, 240)}) {
    ASSERT_TRUE(sink->Write(SyntheticScene(width, height, 2, 1).Frame(3)).ok());
  }
  EXPECT_EQ(recording.opened, 1);
  ASSERT_EQ(recording.sizes.size(), 5u);
  for (const auto& size : recording.sizes) EXPECT_EQ(size, std::pair(320, 240));
}

TEST(VideoSink, PassesOverOtherCamerasAndFramesWithoutPixels) {
  Recording recording;
  const auto sink = MakeSink(&recording);
  FrameResult other = SyntheticScene(64, 48, 1, 1).Frame(0);
  auto camera = std::make_shared<CameraInfo>();
  camera->id = "yard";
  other.frame.meta.camera = camera;
  ASSERT_TRUE(sink->Write(other).ok());
  ASSERT_TRUE(sink->Write(SyntheticScene(64, 48, 1, 1).Frame(0, false)).ok());
  FrameResult end = SyntheticScene(64, 48, 1, 1).Frame(0);
  end.end_of_stream = true;
  ASSERT_TRUE(sink->Write(end).ok());
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_EQ(recording.opened, 0);
}

TEST(VideoSink, ErrorsAreStickyAndNameTheCamera) {
  Recording recording;
  recording.answer = ResourceExhausted("disk full");
  const auto sink = MakeSink(&recording);
  const absl::Status status = sink->Write(SyntheticScene(64, 48, 1, 1).Frame(0));
  EXPECT_EQ(std::string(MessageOf(status)), "annotated video of street: disk full");
  EXPECT_EQ(sink->Write(SyntheticScene(64, 48, 1, 1).Frame(1)), status);
  EXPECT_EQ(sink->Close(), status);
  EXPECT_EQ(recording.closed, 1);
  EXPECT_EQ(recording.pts_us.size(), 1u);
  EXPECT_FALSE(VideoSink::Create({}).ok());
}

TEST(VideoSink, BrokenBoxesAndFarAwayRulesDoNoHarm) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Recording recording;
  const auto sink = MakeSink(&recording, {{"line \xC3\xA4\n", {{-1e9f, nan}, {1e9f, 1e9f}}, true},
                                          {"zone", {{0, 0}, {1e9f, 0}, {9, 9}}, false},
                                          {"empty", {}, false}});
  FrameResult frame = SyntheticScene(64, 48, 3, 1).Frame(50);
  frame.tracks.items[0].box_px = {nan, 1, 2, 3};
  frame.tracks.items[1].box_px = {-1e30f, -1e30f, 1e30f, 1e30f};
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(sink->Write(frame).ok());
}

TEST(Drawable, TextThatStrokeFontsCannotDraw) {
  EXPECT_EQ(ToDrawable("Fu\xC3\x9Fg\xC3\xA4nger"), "Fusganger");
  EXPECT_EQ(ToDrawable("\xE8\xA1\x8C\xE4\xBA\xBA 1\n\xFF\xC3"), "?? 1 ??");
}

TEST(AnnotateDetections, DrawsBoxesOfSingleImages) {
  std::vector<uint8_t> bgr(64 * 48 * 3, 0);
  Detections detections;
  detections.items = {{{10, 20, 40, 40}, 0.5f, 3}};
  AnnotateDetections(detections, {bgr.data(), 64, 48, 64 * 3});
  const Color color = PaletteColor(3);
  EXPECT_EQ(bgr[(40 * 64 + 30) * 3 + 2], color.r);
}

}  // namespace
}  // namespace sightline
