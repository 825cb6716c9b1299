// The four 2-state filters against the full 8-state filter of the paper, with its matrices.
#include "track/box_filter.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <random>

namespace sightline {
namespace {

using Vector8 = Eigen::Matrix<double, 8, 1>;
using Vector4 = Eigen::Matrix<double, 4, 1>;
using Matrix8 = Eigen::Matrix<double, 8, 8>;

struct FullFilter {
  Vector8 mean = Vector8::Zero();
  Matrix8 covariance = Matrix8::Zero();

  void Start(const Vector4& z) {
    mean.head<4>() = z;
    const double h = z[3];
    Vector8 std;
    std << h / 10, h / 10, 1e-2, h / 10, h / 16, h / 16, 1e-5, h / 16;
    covariance = std.array().square().matrix().asDiagonal();
  }
  void Predict() {
    const double h = mean[3];
    Vector8 std;
    std << h / 20, h / 20, 1e-2, h / 20, h / 160, h / 160, 1e-5, h / 160;
    Matrix8 motion = Matrix8::Identity();
    motion.topRightCorner<4, 4>().setIdentity();
    mean = (motion * mean).eval();
    covariance = (motion * covariance * motion.transpose()).eval();
    covariance += std.array().square().matrix().asDiagonal();
  }
  void Correct(const Vector4& z) {
    const double h = mean[3];
    Vector4 std;
    std << h / 20, h / 20, 1e-1, h / 20;
    Eigen::Matrix<double, 4, 8> observe = Eigen::Matrix<double, 4, 8>::Zero();
    observe.leftCols<4>().setIdentity();
    Eigen::Matrix4d projected = observe * covariance * observe.transpose();
    projected += std.array().square().matrix().asDiagonal();
    const Eigen::Matrix<double, 8, 4> gain =
        projected.llt().solve(observe * covariance).transpose();
    mean += gain * (z - observe * mean);
    covariance -= gain * projected * gain.transpose();
  }
};

void ExpectSame(const BoxFilter& filter, const FullFilter& full) {
  for (int i = 0; i < 4; ++i) {
    const BoxFilter::Axis& axis = filter.axes()[static_cast<size_t>(i)];
    const double scale = std::max(1.0, std::abs(full.mean[i]));
    ASSERT_NEAR(axis.position, full.mean[i], 1e-9 * scale);
    ASSERT_NEAR(axis.velocity, full.mean[i + 4], 1e-9 * scale);
    ASSERT_NEAR(axis.var_position, full.covariance(i, i), 1e-9 * full.covariance(i, i));
    ASSERT_NEAR(axis.covariance, full.covariance(i, i + 4), 1e-9 * full.covariance(i, i));
    ASSERT_NEAR(axis.var_velocity, full.covariance(i + 4, i + 4), 1e-9 * full.covariance(i, i));
    for (int j = 0; j < 8; ++j) {
      if (j % 4 == i) continue;
      ASSERT_EQ(full.covariance(i, j), 0) << "coordinates couple";
    }
  }
}

TEST(BoxFilter, EqualsTheFullFilter) {
  std::mt19937 random(3);
  const auto unit = [&] { return static_cast<double>(random() % 20001) / 10000 - 1; };
  for (int object = 0; object < 20; ++object) {
    BoxState z = {960 + 900 * unit(), 540 + 500 * unit(), 0.5 + 0.2 * unit(), 200 + 150 * unit()};
    BoxFilter filter;
    FullFilter full;
    filter.Start(z);
    full.Start({z.cx, z.cy, z.aspect, z.height});
    for (int frame = 0; frame < 300; ++frame) {
      if (frame % 37 > 30) {
        filter.StopGrowth();
        full.mean[7] = 0;
      }
      filter.Predict();
      full.Predict();
      ExpectSame(filter, full);
      if (frame % 37 > 30) continue;
      z.cx += 4 + 3 * unit();
      z.cy += 3 * unit();
      z.height = std::max(20.0, z.height + 2 * unit());
      z.aspect = std::max(0.1, z.aspect + 0.02 * unit());
      filter.Correct(z);
      full.Correct({z.cx, z.cy, z.aspect, z.height});
      ExpectSame(filter, full);
    }
  }
}

TEST(BoxFilter, BoxRoundTrip) {
  BoxFilter filter;
  filter.Start(BoxState::Of({10, 20, 50, 120}));
  const BoxD box = filter.box();
  EXPECT_DOUBLE_EQ(box.x1, 10);
  EXPECT_DOUBLE_EQ(box.y1, 20);
  EXPECT_DOUBLE_EQ(box.x2, 50);
  EXPECT_DOUBLE_EQ(box.y2, 120);
}

TEST(BoxFilter, ScalesWithThePicture) {
  BoxFilter small;
  BoxFilter large;
  small.Start(BoxState::Of({10, 20, 50, 120}));
  large.Start(BoxState::Of({20, 60, 100, 360}));
  small.Scale(2, 3);
  EXPECT_NEAR(small.box().x2, large.box().x2, 1e-9);
  EXPECT_NEAR(small.box().y2, large.box().y2, 1e-9);
  EXPECT_NEAR(small.axes()[1].var_position, large.axes()[1].var_position, 1e-9);
}

}  // namespace
}  // namespace sightline
