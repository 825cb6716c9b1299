#include "base/partial_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace sightline {
namespace {

namespace fs = std::filesystem;

class PartialFileTest : public ::testing::Test {
 protected:
  PartialFileTest() {
    std::string pattern = (fs::temp_directory_path() / "partial_file_test.XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~PartialFileTest() override { fs::remove_all(folder_); }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  static std::string Content(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  static void Fill(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  static std::unique_ptr<PartialFile> Written(const std::string& path) {
    absl::StatusOr<std::unique_ptr<PartialFile>> file = PartialFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(write((*file)->fd(), "new", 3), 3);
    return *std::move(file);
  }
  fs::path folder_;
};

TEST_F(PartialFileTest, ReplacesOnlyWhenCommitted) {
  Fill(Path("a"), "old");
  auto file = Written(Path("a"));
  EXPECT_EQ(Content(Path("a")), "old");
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(Content(Path("a")), "new");
  EXPECT_FALSE(fs::exists(Path("a.partial")));
}

TEST_F(PartialFileTest, LeavesWhatWasWrittenButNothingEmpty) {
  Written(Path("a")).reset();
  EXPECT_EQ(Content(Path("a.partial")), "new");
  Written(Path("a"))->Discard();
  EXPECT_FALSE(fs::exists(Path("a.partial")));
  ASSERT_TRUE(PartialFile::Open(Path("a")).ok());
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(PartialFileTest, SetsAsideWhatTheSameRunHasFinished) {
  Fill(Path("a.b"), "of an earlier run");
  Fill(Path("a~2.b"), "somebody's");
  fs::create_symlink(Path("a.b"), Path("link.b"));
  const auto run = std::make_shared<FinishedFiles>();
  const auto write_anew = [&](const std::string& name, const std::string& text) {
    absl::StatusOr<std::unique_ptr<PartialFile>> file = PartialFile::Open(Path(name), run);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_EQ(write((*file)->fd(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ASSERT_TRUE((*file)->Commit().ok());
  };
  write_anew("a.b", "first");
  EXPECT_FALSE(fs::exists(Path("a~1.b"))) << "the earlier run's is replaced";
  write_anew("a.b", "second");
  write_anew("link.b", "third");
  EXPECT_EQ(Content(Path("a~1.b")), "first");
  EXPECT_EQ(Content(Path("a~2.b")), "somebody's");
  EXPECT_EQ(Content(Path("a~3.b")), "second");
  EXPECT_EQ(Content(Path("a.b")), "third");
  EXPECT_TRUE(fs::is_symlink(Path("link.b")));
  // Not its own any more.
  Fill(Path("other"), "other");
  fs::rename(Path("other"), Path("a.b"));
  write_anew("a.b", "fourth");
  EXPECT_EQ(Content(Path("a.b")), "fourth");
  EXPECT_FALSE(fs::exists(Path("a~4.b")));
}

TEST_F(PartialFileTest, HasOneWriter) {
  auto first = Written(Path("a"));
  const absl::Status second = PartialFile::Open(Path("a")).status();
  EXPECT_TRUE(absl::IsUnavailable(second));
  EXPECT_NE(MessageOf(second).find("another run is writing"), std::string_view::npos) << second;
  EXPECT_EQ(Content(Path("a.partial")), "new");
  ASSERT_TRUE(first->Commit().ok());
  EXPECT_TRUE(PartialFile::Open(Path("a")).ok());
}

TEST_F(PartialFileTest, FollowsNoLinkAtThePartial) {
  Fill(Path("victim"), "precious");
  fs::create_symlink("victim", Path("a.partial"));
  ASSERT_TRUE(Written(Path("a"))->Commit().ok());
  fs::create_hard_link(Path("victim"), Path("b.partial"));
  ASSERT_TRUE(Written(Path("b"))->Commit().ok());
  EXPECT_EQ(Content(Path("victim")), "precious");
  EXPECT_EQ(Content(Path("a")) + Content(Path("b")), "newnew");
  EXPECT_FALSE(fs::is_symlink(Path("a")));
}

TEST_F(PartialFileTest, FollowsALinkAtTheName) {
  Fill(Path("real"), "old");
  fs::create_symlink("real", Path("a"));
  ASSERT_TRUE(Written(Path("a"))->Commit().ok());
  EXPECT_TRUE(fs::is_symlink(Path("a")));
  EXPECT_EQ(Content(Path("real")), "new");
}

TEST_F(PartialFileTest, WritesIntoAPipe) {
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  const int reader = open(Path("pipe").c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  auto file = Written(Path("pipe"));
  EXPECT_TRUE(file->direct());
  ASSERT_TRUE(file->Commit().ok());
  char got[4] = {};
  EXPECT_EQ(read(reader, got, 3), 3);
  close(reader);
  EXPECT_TRUE(fs::is_fifo(Path("pipe")));
}

TEST_F(PartialFileTest, RefusesAPipeAtThePartial) {
  ASSERT_EQ(mkfifo(Path("a.partial").c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(PartialFile::Open(Path("a")).status()));
}

}  // namespace
}  // namespace sightline
