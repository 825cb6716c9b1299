#include "media/y4m_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <limits>

#include "base/whole_file.h"

namespace sightline {
namespace {

using ::testing::HasSubstr;

class Y4m : public ::testing::Test {
 protected:
  Y4m() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "sightline-y4m-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ + "/clip.y4m";
  }
  ~Y4m() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string folder_;
  std::string path_;
};

TEST_F(Y4m, HoldsEveryPixelOfAnOddPictureAndNothingOfItsPadding) {
  // 3x3: chroma 2x2; rows are farther apart than they are long.
  const std::string luma = "abc.def.ghi.";
  const std::string u = "uv..wx..";
  const std::string v = "12345678";
  ImageView image{.format = PixelFormat::kI420, .width = 3, .height = 3};
  const std::array<const std::string*, 3> planes = {&luma, &u, &v};
  for (size_t p = 0; p < 3; ++p) {
    image.planes[p] = AsBytes(*planes[p]).data();
    image.strides[p] = 4;
  }
  const auto writer = Y4mWriter::Create({.path = path_, .width = 3, .height = 3, .fps = 12.5});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Write(image).ok());
  ASSERT_TRUE((*writer)->Write(image).ok());
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_TRUE((*writer)->Close().ok());
  EXPECT_EQ(ReadWholeFile(path_, 1 << 20).value(),
            "YUV4MPEG2 W3 H3 F12500:1000 Ip A1:1 C420 XCOLORRANGE=LIMITED\n"
            "FRAME\nabcdefghiuvwx1256FRAME\nabcdefghiuvwx1256");
}

TEST_F(Y4m, SaysWhatItCannotWrite) {
  for (const Y4mWriter::Options& options :
       {Y4mWriter::Options{.path = path_, .width = 0, .height = 3},
        Y4mWriter::Options{.path = path_, .width = 3, .height = 1 << 20},
        Y4mWriter::Options{.path = path_, .width = 3, .height = 3, .fps = 0},
        Y4mWriter::Options{.path = path_,
        .width = 3,
        .height = 3,
        .fps = std::numeric_limits<double>::quiet_NaN()}}) {
    const auto writer = Y4mWriter::Create(options);
    EXPECT_TRUE(absl::IsInvalidArgument(writer.status())) << writer.status();
  }
  const auto writer = Y4mWriter::Create({.path = path_, .width = 4, .height = 2});
  ASSERT_TRUE(writer.ok());
  const std::array<uint8_t, 24> grey{};
  const ImageView bgr{.format = PixelFormat::kBgr24,
                      .width = 4,
                      .height = 2,
                      .planes = {grey.data()},
                      .strides = {12}};
  EXPECT_THAT(std::string(MessageOf((*writer)->Write(bgr))), HasSubstr("I420 pictures of 4x2"));
  const auto nowhere =
      Y4mWriter::Create({.path = folder_ + "/no/such/clip.y4m", .width = 4, .height = 2});
  EXPECT_TRUE(absl::IsFailedPrecondition(nowhere.status())) << nowhere.status();
}

}  // namespace
}  // namespace sightline
