#include "observe/report_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include "observe/synthetic_scene.h"

namespace sightline {
namespace {

using ::testing::HasSubstr;

class ReportSinkTest : public ::testing::Test {
 protected:
  ReportSinkTest() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "sightline_observe_XXXXXX").string();
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  ~ReportSinkTest() override { std::filesystem::remove_all(folder_); }

  static std::vector<ReportRule> Rules() {
    return {{"gate", {{10, 30}, {60, 30}}, true}, {"hall", {{1, 1}, {30, 1}, {30, 30}}, false}};
  }

  // Keeps the page instead of encoding it.
  ReportSinkOptions Options(std::vector<std::string> cameras = {"street"}) {
    ReportSinkOptions options;
    options.path = (folder_ / "report.png").string();
    for (const std::string& id : cameras) {
      ReportCamera& camera = options.cameras.emplace_back();
      camera.camera_id = id;
      camera.source = "clips/street.mp4";
      camera.rules = [](int, int) { return Rules(); };
    }
    options.encode_png = [this](const ImageView& page) -> absl::StatusOr<std::vector<uint8_t>> {
      width_ = page.width;
      height_ = page.height;
      page_.assign(page.planes[0], page.planes[0] + page.strides[0] * page.height);
      return std::vector<uint8_t>{'P', 'N', 'G'};
    };
    return options;
  }

  // Distinct colours tell a drawn page from an empty one.
  size_t DistinctColors() const {
    std::vector<uint32_t> colors;
    for (size_t i = 0; i + 2 < page_.size(); i += 3) {
      colors.push_back(uint32_t{page_[i]} | uint32_t{page_[i + 1]} << 8 |
                       uint32_t{page_[i + 2]} << 16);
    }
    std::sort(colors.begin(), colors.end());
    return static_cast<size_t>(std::unique(colors.begin(), colors.end()) - colors.begin());
  }

  std::filesystem::path folder_;
  std::vector<uint8_t> page_;
  int width_ = 0;
  int height_ = 0;
};

TEST_F(ReportSinkTest, DrawsOnePage) {
  const SyntheticScene scene(640, 480, 5, 2);
  const auto sink = *ReportSink::Create(Options());
  EXPECT_TRUE(sink->wants_pixels());
  for (uint64_t i = 0; i < 300; ++i) ASSERT_TRUE(sink->Write(scene.Frame(i, i % 50 == 0)).ok());
  for (int64_t id = 1; id < 9; ++id) ASSERT_TRUE(sink->WriteTrack(scene.Track(id)).ok());
  ASSERT_TRUE(sink->WriteLedger(*scene.camera(), FrameCounts()).ok());
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_TRUE(sink->Close().ok());
  EXPECT_EQ(width_, 1600);
  EXPECT_EQ(height_, 1000);
  EXPECT_GT(DistinctColors(), 500u);
  EXPECT_EQ(std::filesystem::file_size(folder_ / "report.png"), 3u);
}

TEST_F(ReportSinkTest, TheSameRunGivesTheSamePage) {
  std::vector<uint8_t> first;
  for (int run = 0; run < 2; ++run) {
    class StoppedClock final : public Clock {
      int64_t NowUtcUs() const override { return 0; }
      int64_t NowMonotonicUs() const override { return 0; }
    };
    static const StoppedClock clock;
    ReportSinkOptions options = Options();
    options.clock = &clock;
    const auto sink = *ReportSink::Create(std::move(options));
    const SyntheticScene scene(320, 240, 4, 2);
    for (uint64_t i = 0; i < 60; ++i) ASSERT_TRUE(sink->Write(scene.Frame(i)).ok());
    ASSERT_TRUE(sink->Close().ok());
    if (run == 0) first = page_;
    EXPECT_EQ(page_, first);
  }
}

// No detections, one frame, portrait, forty classes, tiny, hours, nothing at all, silly numbers.
TEST_F(ReportSinkTest, OddVideosGiveAPage) {
  struct Case {
    int width, height, objects, classes;
    uint64_t frames;
    double fps;
  };
  for (const Case& c :
       {Case{640, 480, 0, 1, 100, 25}, Case{640, 480, 3, 1, 1, 25}, Case{1080, 1920, 3, 2, 20, 25},
        Case{640, 480, 80, 40, 50, 25}, Case{64, 48, 4, 2, 50, 25}, Case{640, 480, 4, 2, 2880, 0.1},
        Case{1, 1, 1, 1, 5, 25}, Case{4000, 2, 1, 1, 5, 25}, Case{640, 480, 0, 1, 0, 25}}) {
    SCOPED_TRACE(testing::Message() << c.width << "x" << c.height << " " << c.frames);
    const SyntheticScene scene(c.width, c.height, c.objects, c.classes, c.fps);
    const auto sink = *ReportSink::Create(Options());
    for (uint64_t i = 0; i < c.frames; ++i)
      ASSERT_TRUE(sink->Write(scene.Frame(i, i % 7 == 0)).ok());
    const absl::Status status = sink->Close();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_GT(DistinctColors(), 30u);
  }
}

TEST_F(ReportSinkTest, BrokenBoxesAndFarAwayRulesDoNoHarm) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  FrameResult frame = SyntheticScene(640, 480, 4, 1).Frame(0);
  frame.tracks.items[0].box_px = {nan, nan, nan, nan};
  frame.tracks.items[1].box_px = {-1e30f, -1e30f, 1e30f, 1e30f};
  frame.tracks.items[2].box_px = {500, 400, 100, 50};
  frame.tracks.items[3].track_id = -9'000'000'000;
  ReportSinkOptions options = Options();
  options.cameras[0].title = std::string(500, 'W') + "\xFF\xC3\xBC\n";
  std::vector<ReportRule> rules = Rules();
  rules.push_back({std::string(300, 'x'), {{-1e9f, -1e9f}, {1e9f, 1e9f}}, true});
  rules.push_back({"no corners", {}, false});
  for (int i = 0; i < 40; ++i) rules.push_back({"r" + std::to_string(i), {{0, 0}, {9, 9}}, true});
  options.cameras[0].rules = [rules](int, int) { return rules; };
  const auto sink = *ReportSink::Create(std::move(options));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(sink->Write(frame).ok());
  const absl::Status status = sink->Close();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(ReportSinkTest, SeveralCamerasHaveAFileEach) {
  const auto sink = *ReportSink::Create(Options({"street", "yard.2"}));
  ASSERT_TRUE(sink->Write(SyntheticScene(64, 48, 1, 1).Frame(0)).ok());
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_TRUE(std::filesystem::exists(folder_ / "report-street.png"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "report-yard.2.png"));
}

TEST_F(ReportSinkTest, SaysWhatIsWrong) {
  ReportSinkOptions options = Options();
  options.path = (folder_ / "none/report.png").string();
  const auto sink = *ReportSink::Create(options);
  const absl::Status status = sink->Close();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("none/report.png"));
  EXPECT_FALSE(ReportSink::Create({}).ok());
  EXPECT_FALSE(ReportSink::Create(Options({"a", "a"})).ok());
}

}  // namespace
}  // namespace sightline
