#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/commands.h"

namespace sightline::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class TrackCommand : public ::testing::Test {
 protected:
  TrackCommand() {
    std::string pattern = (fs::temp_directory_path() / "track_command_test.XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~TrackCommand() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  // One person walks to the right for 40 frames, out of sight from 11 to 25.
  std::string WriteWalk() const {
    std::ofstream file(Path("det.txt"));
    for (int frame = 1; frame <= 40; ++frame) {
      if (frame >= 11 && frame <= 25) continue;
      file << frame << ",-1," << 100 + 3 * frame << ",100,40,100,0.9,-1,-1,-1\n";
    }
    return Path("det.txt");
  }
  static std::string Content(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  int Run(std::vector<std::string> arguments) {
    CLI::App app;
    app.require_subcommand(1);
    int exit_code = 0;
    AddTrackCommand(app, exit_code);
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
    arguments.push_back("track");
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    try {
      app.parse(arguments);
    } catch (const CLI::ParseError& error) {
      exit_code = app.exit(error) == 0 ? 0 : 2;
    }
    out_ = testing::internal::GetCapturedStdout();
    error_ = testing::internal::GetCapturedStderr();
    return exit_code;
  }

  fs::path folder_;
  std::string out_;
  std::string error_;
};

TEST_F(TrackCommand, WritesTracksAndASummary) {
  const std::string out = Path("tracks.txt");
  ASSERT_EQ(Run({"--tracker", "bytetrack", "--detections", WriteWalk(), "--out", out, "--json"}), 0)
      << error_;
  const auto summary = nlohmann::json::parse(out_);
  EXPECT_EQ(summary.at("frames"), 40);
  EXPECT_EQ(summary.at("detections"), 25);
  EXPECT_EQ(summary.at("tracks"), 1);
  EXPECT_EQ(summary.at("boxes"), 25);
  EXPECT_THAT(Content(out), StartsWith("1,1,103.00,100.00,40.00,100.00,0.9,-1,-1,-1\n"));
  EXPECT_THAT(Content(out), HasSubstr("\n40,1,"));
}

TEST_F(TrackCommand, QuirksAreASwitch) {
  ASSERT_EQ(Run({"--detections", WriteWalk(), "--out", Path("t"), "--no-reference-quirks"}), 0);
  EXPECT_THAT(Content(Path("t")), StartsWith("2,1,")) << "confirmed on the second sighting";
}

TEST_F(TrackCommand, FrameRateSetsTheBuffer) {
  // At 10 frames/s the buffer of a second is 10 frames, less than the 15 that are missing.
  ASSERT_EQ(Run({"--detections", WriteWalk(), "--out", Path("t"), "--frame-rate", "10", "--json"}),
            0);
  EXPECT_EQ(nlohmann::json::parse(out_).at("tracks"), 2);
}

TEST_F(TrackCommand, StandardOutputMakesRoom) {
  ASSERT_EQ(Run({"--detections", WriteWalk(), "--out", "-"}), 0);
  EXPECT_THAT(out_, StartsWith("1,1,"));
  EXPECT_THAT(error_, HasSubstr("1 tracks, 25 boxes"));
}

TEST_F(TrackCommand, LongGapsCostNothing) {
  std::ofstream(Path("gap.txt")) << "2,-1,1,1,10,10,0.9\n1000000000,-1,1,1,10,10,0.9\n";
  EXPECT_EQ(Run({"--detections", Path("gap.txt"), "--out", Path("t")}), 0) << error_;
}

TEST_F(TrackCommand, ErrorsSayWhatAndLeaveTheOldFile) {
  std::ofstream(Path("t")) << "old";
  EXPECT_EQ(Run({"--detections", Path("none"), "--out", Path("t")}), 1);
  EXPECT_THAT(error_, HasSubstr("none"));
  std::ofstream(Path("bad.txt")) << "1,-1,1,1,10,10,0.9\n1,-1,1,one,10,10,0.9\n";
  EXPECT_EQ(Run({"--detections", Path("bad.txt"), "--out", Path("t")}), 1);
  EXPECT_THAT(error_, HasSubstr("bad.txt: line 2: y is \"one\""));
  EXPECT_EQ(Run({"--detections", Path("."), "--out", Path("t")}), 1);
  {
    std::ofstream many(Path("many.txt"));
    for (int i = 0; i < 1001; ++i) many << "7,-1,1,1,10,10,0.9\n";
  }
  EXPECT_EQ(Run({"--detections", Path("many.txt"), "--out", Path("t")}), 1);
  EXPECT_THAT(error_, HasSubstr("frame 7 has 1001 detections"));
  EXPECT_EQ(Run({"--detections", WriteWalk(), "--out", Path("t"), "--tracker", "sort"}), 2);
  EXPECT_EQ(Run({"--detections", WriteWalk(), "--out", Path("t"), "--frame-rate", "0"}), 2);
  EXPECT_EQ(Run({"--detections", WriteWalk()}), 2);
  EXPECT_EQ(Content(Path("t")), "old");
}

TEST_F(TrackCommand, EmptyInputGivesAnEmptyFile) {
  std::ofstream(Path("empty.txt")) << "";
  EXPECT_EQ(Run({"--detections", Path("empty.txt"), "--out", Path("t")}), 0);
  EXPECT_THAT(error_, HasSubstr("no detections"));
  EXPECT_TRUE(fs::exists(Path("t")));
}

}  // namespace
}  // namespace sightline::cli
