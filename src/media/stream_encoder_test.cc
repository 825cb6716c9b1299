#include "media/stream_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "media/test_clips.h"

namespace sightline {
namespace {

using test::OptionsFor;
using test::ReadVideo;
using test::Seen;
using test::TempDir;

struct Picture {
  Picture(int width, int height, int shift) : luma(static_cast<size_t>(width * height)) {
    for (size_t i = 0; i < luma.size(); ++i) {
      luma[i] = static_cast<uint8_t>(
          60 + (i % static_cast<size_t>(width) + static_cast<size_t>(shift)) % 100);
    }
    chroma.resize(static_cast<size_t>((width + 1) / 2 * ((height + 1) / 2)), 128);
    view = {.format = PixelFormat::kI420,
            .width = width,
            .height = height,
            .planes = {luma.data(), chroma.data(), chroma.data()},
            .strides = {width, (width + 1) / 2, (width + 1) / 2}};
  }
  std::vector<uint8_t> luma;
  std::vector<uint8_t> chroma;
  ImageView view;
};

class Codecs : public testing::TestWithParam<StreamCodec> {};

TEST_P(Codecs, GiveOneCodedPictureForEachAtOnce) {
  const bool mjpeg = GetParam() == StreamCodec::kMjpeg;
  constexpr int kFrames = 12;
  auto encoder = StreamEncoder::Create(
      {.codec = GetParam(), .width = 97, .height = 65, .fps = 10, .key_interval = 5});
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  const TempDir dir;
  const std::string path = dir / (mjpeg                              ? "a.mjpeg"
                                  : GetParam() == StreamCodec::kH264 ? "a.h264"
                                                                     : "a.h265");
  std::ofstream file(path, std::ios::binary);
  for (int i = 0; i < kFrames; ++i) {
    const Picture picture(97, 65, i);
    const auto packet = (*encoder)->Encode(picture.view, i * 100'000);
    ASSERT_TRUE(packet.ok()) << packet.status();
    EXPECT_FALSE(packet->bytes.empty());
    EXPECT_EQ(packet->key, mjpeg || i % 5 == 0) << i;
    file.write(reinterpret_cast<const char*>(packet->bytes.data()),
               static_cast<std::streamsize>(packet->bytes.size()));
  }
  file.close();
  const Seen seen = ReadVideo(OptionsFor(path));
  EXPECT_TRUE(seen.status.ok()) << seen.status;
  EXPECT_EQ(seen.frames.size(), size_t{kFrames});
  EXPECT_EQ(seen.info.width, 98) << "an even number, filled with the last column";
  EXPECT_EQ(seen.info.height, 66);
}

INSTANTIATE_TEST_SUITE_P(All, Codecs,
                         testing::Values(StreamCodec::kH264, StreamCodec::kH265,
                                         StreamCodec::kMjpeg));

TEST(StreamEncoder, RefusesWhatCannotBeSent) {
  EXPECT_EQ(StreamEncoder::Create({.width = 0, .height = 10}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StreamEncoder::Create({.codec = StreamCodec::kMjpeg, .width = 2048, .height = 64})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  auto encoder = StreamEncoder::Create({.width = 64, .height = 48});
  ASSERT_TRUE(encoder.ok());
  EXPECT_EQ((*encoder)->Encode(Picture(64, 64, 0).view, 0).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sightline
