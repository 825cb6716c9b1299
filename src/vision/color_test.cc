#include "vision/color.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "vision/row_kernels.h"
#include "vision/test_pictures.h"

namespace sightline {
namespace {

TEST(Color, ToBgrIsTheChainsAndToGrayIsOpenCvs) {
  std::mt19937 random(9);
  for (const PixelFormat format : kFormats) {
    for (const auto& size : {std::pair(97, 31), std::pair(1, 1), std::pair(64, 2)}) {
      const Picture picture = MakePicture(random, format, size.first, size.second, Content::kNoise);
      std::vector<uint8_t> bgr, gray;
      ASSERT_TRUE(ToBgr(picture.view, &bgr).ok());
      ASSERT_TRUE(ToGray(picture.view, &gray).ok());
      const cv::Mat want = ChainBgr(picture.view);
      const cv::Mat got(size.second, size.first, CV_8UC3, bgr.data());
      EXPECT_LE(cv::norm(got, want, cv::NORM_INF), IsYuv(format) ? 1 : 0) << ToString(format);
      if (IsYuv(format)) continue;
      cv::Mat want_gray;
      cv::cvtColor(want, want_gray, cv::COLOR_BGR2GRAY);
      EXPECT_EQ(
          cv::norm(cv::Mat(size.second, size.first, CV_8UC1, gray.data()), want_gray, cv::NORM_INF),
          0);
    }
  }
}

// Every Y, U and V there is, against the definition in real numbers.
TEST(Color, NeverOffByMoreThanOneAndRarelyThat) {
  struct Real {
    double gain, bu, gu, gv, rv;
  };
  const auto by_weights = [](double kr, double kb, bool limited) {
    const double c = limited ? 255.0 / 224 : 1, kg = 1 - kr - kb;
    return Real{limited ? 255.0 / 219 : 1, 2 * (1 - kb) * c, -2 * (1 - kb) * kb / kg * c,
                -2 * (1 - kr) * kr / kg * c, 2 * (1 - kr) * c};
  };
  for (int variant = 0; variant < 4; ++variant) {
    const auto matrix = static_cast<ColorMatrix>(variant & 1);
    const auto range = static_cast<ColorRange>(variant >> 1);
    const bool limited = range == ColorRange::kLimited, is709 = matrix == ColorMatrix::kBt709;
    const Real k = is709     ? by_weights(0.2126, 0.0722, limited)
                   : limited ? Real{1.164, 2.018, -0.391, -0.813, 1.596}
                             : by_weights(0.299, 0.114, false);
    const YuvCoefficients c = CoefficientsOf(matrix, range);
    std::vector<uint8_t> y(65536), u(65536), v(65536), got[3];
    for (auto& plane : got) plane.resize(65536 + kRowSlack);
    int64_t off = 0;
    for (int vv = 0; vv < 256; ++vv) {
      for (int i = 0; i < 65536; ++i) y[i] = i & 255, u[i] = i >> 8, v[i] = vv;
      const YuvRow row{ChromaLayout::kFull, y.data(), u.data(), v.data()};
      BestRowKernels().yuv_to_bgr(row, 65536, c, got[0].data(), got[1].data(), got[2].data());
      for (int i = 0; i < 65536; ++i) {
        const double l = std::max(0, y[i] - (limited ? 16 : 0)) * k.gain;
        const double cu = u[i] - 128.0, cv = vv - 128.0;
        const double want[3] = {l + k.bu * cu, l + k.gu * cu + k.gv * cv, l + k.rv * cv};
        for (int p = 0; p < 3; ++p) {
          const int rounded = static_cast<int>(std::clamp(want[p], 0.0, 255.0) + 0.5);
          const int d = std::abs(got[p][i] - rounded);
          ASSERT_LE(d, 1) << int{y[i]} << " " << int{u[i]} << " " << vv;
          off += d;
        }
      }
    }
    EXPECT_LT(off, 3 * 65536 * 256 / 100) << variant;
  }
}

}  // namespace
}  // namespace sightline
