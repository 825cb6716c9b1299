#include "track/mot_file.h"
#include "base/whole_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace sightline {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string ErrorOf(std::string_view text) {
  return std::string(MessageOf(ParseMotDetections(text).status()));
}

TEST(MotFile, AnyColumnsOrderAndLineEnds) {
  const auto rows = ParseMotDetections(
      "\xEF\xBB\xBF"
      "3,-1,1,2,3,4,0.5\r\n"
      "\n"
      "1, -1, 10.5, -20 ,30,40,0.9,-1,-1,-1\n"
      "   \r\n"
      "3,7,5,6,7,8,1e-1,text that nobody reads,\n"
      "2,-1,0,0,1,1,-0.5");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 4u);
  EXPECT_EQ((*rows)[0].frame, 1);
  EXPECT_EQ((*rows)[0].detection.box_px, (Box{10.5f, -20, 40.5f, 20}));
  EXPECT_FLOAT_EQ((*rows)[0].detection.confidence, 0.9f);
  EXPECT_EQ((*rows)[1].frame, 2);
  EXPECT_EQ((*rows)[2].detection.box_px.x1, 1) << "order within a frame stays";
  EXPECT_EQ((*rows)[3].detection.box_px.x1, 5);
}

TEST(MotFile, NothingIsNoError) {
  EXPECT_TRUE(ParseMotDetections("")->empty());
  EXPECT_TRUE(ParseMotDetections("\n\r\n")->empty());
}

TEST(MotFile, GarbageIsNamedByLine) {
  const std::string good = "1,-1,1,2,3,4,0.5\n";
  EXPECT_THAT(ErrorOf(good + "\n1,-1,1,2,3,4\n"), HasSubstr("line 3: 6 columns"));
  EXPECT_THAT(ErrorOf(good + "hello\n"), HasSubstr("line 2: 1 columns in \"hello\""));
  EXPECT_THAT(ErrorOf("1,-1,1,2,x,4,0.5"), HasSubstr("line 1: width is \"x\""));
  EXPECT_THAT(ErrorOf("1,-1,1,2,3,4,"), HasSubstr("line 1: confidence is \"\""));
  EXPECT_THAT(ErrorOf("1,-1,1,2,nan,4,0.5"), HasSubstr("width is \"nan\""));
  EXPECT_THAT(ErrorOf("1,-1,1,inf,3,4,0.5"), HasSubstr("y is \"inf\""));
  EXPECT_THAT(ErrorOf("1,-1,1,1e999,3,4,0.5"), HasSubstr("y is \"1e999\""));
  EXPECT_THAT(ErrorOf("0,-1,1,2,3,4,0.5"), HasSubstr("frame is 0, expected a whole number"));
  EXPECT_THAT(ErrorOf("1.5,-1,1,2,3,4,0.5"), HasSubstr("frame is 1.5"));
  EXPECT_THAT(ErrorOf("1e12,-1,1,2,3,4,0.5"), HasSubstr("frame is"));
  EXPECT_THAT(ErrorOf(std::string("\x7f"
                                  "ELF\0\1\2",
                                  7)),
              HasSubstr("line 1: 1 columns in \"?ELF"));
  EXPECT_EQ(ParseMotDetections("hello").status().code(), absl::StatusCode::kInvalidArgument);
}

class MotFiles : public ::testing::Test {
 protected:
  MotFiles() {
    std::string pattern = (fs::temp_directory_path() / "mot_file_test.XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~MotFiles() override { fs::remove_all(folder_); }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  static std::string Content(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  fs::path folder_;
};

TEST_F(MotFiles, ReadingSaysWhichFile) {
  EXPECT_EQ(ReadMotDetections(Path("none.txt")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(MessageOf(ReadMotDetections(folder_.string()).status())),
              HasSubstr(folder_.string()));
  std::ofstream(Path("bad.txt")) << "1,2\n";
  EXPECT_THAT(std::string(MessageOf(ReadMotDetections(Path("bad.txt")).status())),
              HasSubstr("bad.txt: line 1"));
}

TEST_F(MotFiles, WritesTheFormat) {
  Tracks tracks;
  TrackedObject object;
  object.track_id = 12;
  object.box_px = {1.5f, 2.25f, 11.5f, 32.25f};
  object.confidence = 0.875f;
  tracks.items = {object};
  std::string text;
  AppendMotTracks(3, tracks, &text);
  EXPECT_EQ(text, "3,12,1.50,2.25,10.00,30.00,0.875,-1,-1,-1\n");
}

TEST_F(MotFiles, WholeFileOrNothing) {
  const std::string path = Path("tracks.txt");
  ASSERT_TRUE(WriteWholeFile(path, "one\n").ok());
  ASSERT_TRUE(WriteWholeFile(path, "two\n").ok());
  EXPECT_EQ(Content(path), "two\n");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1)
      << "no temporary file stays";
  EXPECT_FALSE(WriteWholeFile(Path("no/such/folder.txt"), "x").ok());
  EXPECT_THAT(std::string(MessageOf(WriteWholeFile(folder_.string(), "x"))),
              HasSubstr("Is a directory"));
}

TEST_F(MotFiles, ADeviceStaysADevice) {
  ASSERT_TRUE(WriteWholeFile("/dev/null", "x").ok());
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  if (fs::exists("/dev/full")) {
    EXPECT_EQ(WriteWholeFile("/dev/full", "x").code(), absl::StatusCode::kResourceExhausted);
  }
}

TEST_F(MotFiles, ALinkIsFollowed) {
  std::ofstream(Path("real.txt")) << "old";
  fs::create_symlink(Path("real.txt"), Path("link.txt"));
  ASSERT_TRUE(WriteWholeFile(Path("link.txt"), "new").ok());
  EXPECT_TRUE(fs::is_symlink(Path("link.txt")));
  EXPECT_EQ(Content(Path("real.txt")), "new");
}

}  // namespace
}  // namespace sightline
