// The antialias of Pillow and the centre crop of torchvision, byte for byte (tests/golden/vision,
// made by tools/golden/pillow_resize.py).
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "vision/preprocess.h"

namespace sightline {
namespace {

using nlohmann::json;

// The picture that made_picture() of the script makes, in R, G, B.
std::vector<uint8_t> MadePicture(int width, int height, uint32_t seed) {
  std::vector<uint8_t> pixels;
  uint32_t state = seed;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const int patch = (x / 6 + y / 5) % 3;
      for (int c = 0; c < 3; ++c) {
        state = state * 1664525u + 1013904223u;
        pixels.push_back(patch == 0 ? static_cast<uint8_t>(state >> 24) : patch == 1 ? 0 : 255);
      }
    }
  }
  return pixels;
}

// The same pixels with another order of channels and rows that lie apart.
ImageView ViewOf(const std::vector<uint8_t>& rgb, int width, int height, PixelFormat format,
                 std::vector<uint8_t>& bytes) {
  ImageView view;
  view.format = format;
  view.width = width;
  view.height = height;
  view.strides[0] = 3 * width + 5;
  bytes.assign(static_cast<size_t>(view.strides[0]) * height, 0xEE);
  for (int y = 0; y < height; ++y) {
    for (int i = 0; i < 3 * width; ++i) {
      const int to = format == PixelFormat::kRgb24 ? i : i / 3 * 3 + 2 - i % 3;
      bytes[static_cast<size_t>(y) * view.strides[0] + to] =
          rgb[static_cast<size_t>(y) * 3 * width + i];
    }
  }
  view.planes[0] = bytes.data();
  return view;
}

std::vector<uint8_t> FromHex(const std::string& hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

TEST(PillowGolden, ResizeAndCropAreByteForByteThoseOfPillow) {
  std::ifstream file(SIGHTLINE_SOURCE_DIR "/tests/golden/vision/pillow_resize.json");
  ASSERT_TRUE(file) << "tests/golden/vision/pillow_resize.json is missing";
  const json golden = json::parse(file);
  ASSERT_GE(golden.at("cases").size(), 40u);
  for (const json& c : golden.at("cases")) {
    json title = c;
    title.erase("hex");
    SCOPED_TRACE(title.dump());
    TensorRecipe r;
    r.width = c.at("input_wh")[0];
    r.height = c.at("input_wh")[1];
    r.resize = c.contains("crop_from") ? ResizeMode::kCenterCrop : ResizeMode::kStretch;
    r.rounding = Rounding::kNearest;
    r.crop_from = c.value("crop_from", 0);
    r.interpolation = c.at("interpolation") == "cubic_antialias"
                          ? Interpolation::kCubicAntialias
                          : Interpolation::kBilinearAntialias;
    r.layout = TensorLayout::kNhwc;
    r.dtype = DataType::kUint8;
    r.pad_value = golden.at("pad_rgb").get<std::array<uint8_t, 3>>();
    const int width = c.at("source_wh")[0], height = c.at("source_wh")[1];
    const std::vector<uint8_t> rgb = MadePicture(width, height, c.at("seed").get<uint32_t>());
    const std::vector<uint8_t> want = FromHex(c.at("hex"));
    const size_t step = c.at("step");
    ASSERT_EQ(want.size(), (TensorBytes(r) + step - 1) / step);
    for (const PixelFormat format : {PixelFormat::kRgb24, PixelFormat::kBgr24}) {
      std::vector<uint8_t> bytes;
      const ImageView view = ViewOf(rgb, width, height, format, bytes);
      absl::StatusOr<Preprocessor> preprocessor = Preprocessor::Create(r);
      ASSERT_TRUE(preprocessor.ok()) << preprocessor.status();
      std::vector<uint8_t> tensor(TensorBytes(r), 0xCD);
      ASSERT_TRUE(preprocessor->Run(view, tensor.data(), nullptr).ok());
      size_t wrong = 0;
      for (size_t i = 0; i < want.size(); ++i) wrong += tensor[i * step] != want[i];
      EXPECT_EQ(wrong, 0u) << "of " << want.size() << " bytes, " << ToString(format);
    }
  }
}

}  // namespace
}  // namespace sightline
