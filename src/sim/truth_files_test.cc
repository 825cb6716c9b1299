#include "sim/truth_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "base/whole_file.h"

namespace sightline::sim {
namespace {

using ::testing::HasSubstr;

class TruthFiles : public ::testing::Test {
 protected:
  TruthFiles() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "sightline-sim-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~TruthFiles() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string Read(const std::string& name) const {
    return ReadWholeFile(folder_ + "/t/" + name, 1 << 26).value();
  }
  std::string folder_;
};

TEST_F(TruthFiles, AreASequenceOfTheMotChallenge) {
  const SimOptions sim = ParseSimUrl("sim://street?people=15&seed=7&fps=10").value();
  const auto summary = WriteTruthFiles(sim, {.folder = folder_ + "/t",
                                             .name = "sim://street,x",
                                             .length_us = 30'000'000,
                                             .lines = {{"line1", {320, 0}, {320, 360}}}});
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->frames, 300);
  EXPECT_THAT(Read("seqinfo.ini"), HasSubstr("seqLength=300\nimWidth=640\nimHeight=360\n"));
  EXPECT_THAT(Read("seqinfo.ini"), HasSubstr("name=sim://street x\n"));
  std::istringstream boxes(Read("gt/gt.txt"));
  uint64_t rows = 0;
  for (std::string line; std::getline(boxes, line); ++rows) {
    ASSERT_EQ(std::count(line.begin(), line.end(), ','), 8) << line;
  }
  EXPECT_EQ(rows, summary->boxes);
  EXPECT_GT(rows, 1000u);
  const std::string crossings = Read("crossings.csv");
  EXPECT_THAT(crossings, HasSubstr("line,frame,time_s,id,class,direction\nline1,"));
  ASSERT_EQ(summary->lines.size(), 1u);
  EXPECT_EQ(static_cast<uint64_t>(std::count(crossings.begin(), crossings.end(), '\n')),
            1 + summary->lines[0].forward + summary->lines[0].backward);
  EXPECT_GT(summary->lines[0].forward + summary->lines[0].backward, 3u);
}

TEST_F(TruthFiles, SayWhatIsWrong) {
  const SimOptions sim = ParseSimUrl("sim://street").value();
  ASSERT_TRUE(WriteWholeFile(folder_ + "/t", "a file").ok());
  const auto blocked = WriteTruthFiles(sim, {.folder = folder_ + "/t", .length_us = 1'000'000});
  EXPECT_THAT(std::string(MessageOf(blocked.status())), HasSubstr("--out"));
  const auto pointless = WriteTruthFiles(
      sim, {.folder = folder_, .length_us = 1'000'000, .lines = {{"l", {1, 1}, {1, 1}}}});
  EXPECT_TRUE(absl::IsInvalidArgument(pointless.status()));
  const auto stopped = WriteTruthFiles(
      sim, {.folder = folder_ + "/s", .length_us = 1'000'000, .stop = [] { return true; }});
  EXPECT_TRUE(absl::IsCancelled(stopped.status()));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/s/gt/gt.txt"));
}

}  // namespace
}  // namespace sightline::sim
