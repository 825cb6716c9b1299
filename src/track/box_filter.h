// The motion model of SORT, DeepSORT and ByteTrack: a Kalman filter with constant velocity over
// (center x, center y, aspect ratio w/h, height) and their velocities, one step a frame.
//
// Transition, process and measurement noise of that model couple each coordinate with its own
// velocity only, and the filter starts from a diagonal covariance; so the 8x8 covariance stays
// four 2x2 blocks for ever, and the 8-state filter is exactly four 2-state filters. Written that
// way it is some thirty times cheaper; the test holds it against the full matrices.
//
// Units: px and px per step, double as the reference. Cost: about 10 ns a call. No allocation.
// Source: Wojke et al., "Simple Online and Realtime Tracking with a Deep Association Metric",
// ICIP 2017; its noise constants, as used by ifzhang/ByteTrack yolox/tracker/kalman_filter.py.
#pragma once

#include <array>

namespace sightline {

// x1, y1, x2, y2 in px.
struct BoxD {
  double x1 = 0;
  double y1 = 0;
  double x2 = 0;
  double y2 = 0;
};

// Center x, center y in px; width / height; height in px.
struct BoxState {
  double cx = 0;
  double cy = 0;
  double aspect = 0;
  double height = 0;

  static BoxState Of(const BoxD& box) {
    const double width = box.x2 - box.x1;
    const double height = box.y2 - box.y1;
    return {box.x1 + width / 2, box.y1 + height / 2, width / height, height};
  }
};

class BoxFilter {
 public:
  // A new object: at rest, uncertain as the model says. height > 0.
  void Start(const BoxState& measured) {
    const double position = 2 * kPositionWeight * measured.height;
    const double velocity = 10 * kVelocityWeight * measured.height;
    axes_[0].Start(measured.cx, position, velocity);
    axes_[1].Start(measured.cy, position, velocity);
    axes_[2].Start(measured.aspect, 1e-2, 1e-5);
    axes_[3].Start(measured.height, position, velocity);
  }

  void Predict() {
    const double position = kPositionWeight * axes_[3].position;
    const double velocity = kVelocityWeight * axes_[3].position;
    axes_[0].Predict(position, velocity);
    axes_[1].Predict(position, velocity);
    axes_[2].Predict(1e-2, 1e-5);
    axes_[3].Predict(position, velocity);
  }

  void Correct(const BoxState& measured) {
    const double position = kPositionWeight * axes_[3].position;
    axes_[0].Correct(measured.cx, position);
    axes_[1].Correct(measured.cy, position);
    axes_[2].Correct(measured.aspect, 1e-1);
    axes_[3].Correct(measured.height, position);
  }

  // An unseen object keeps its height.
  void StopGrowth() { axes_[3].velocity = 0; }

  // The picture's size changed by these factors (a camera that switched its resolution).
  void Scale(double by_x, double by_y) {
    axes_[0].Scale(by_x);
    axes_[1].Scale(by_y);
    axes_[2].Scale(by_x / by_y);
    axes_[3].Scale(by_y);
  }

  BoxD box() const {
    const double height = axes_[3].position;
    const double width = axes_[2].position * height;
    const double x1 = axes_[0].position - width / 2;
    const double y1 = axes_[1].position - height / 2;
    return {x1, y1, x1 + width, y1 + height};
  }

  struct Axis {
    double position = 0;
    double velocity = 0;
    double var_position = 0;
    double covariance = 0;
    double var_velocity = 0;

    void Start(double measured, double std_position, double std_velocity) {
      *this = {measured, 0, std_position * std_position, 0, std_velocity * std_velocity};
    }
    void Predict(double std_position, double std_velocity) {
      position += velocity;
      var_position += 2 * covariance + var_velocity + std_position * std_position;
      covariance += var_velocity;
      var_velocity += std_velocity * std_velocity;
    }
    void Correct(double measured, double std_measured) {
      const double innovation_var = var_position + std_measured * std_measured;
      const double gain_position = var_position / innovation_var;
      const double gain_velocity = covariance / innovation_var;
      const double innovation = measured - position;
      position += gain_position * innovation;
      velocity += gain_velocity * innovation;
      var_position -= gain_position * innovation_var * gain_position;
      covariance -= gain_position * innovation_var * gain_velocity;
      var_velocity -= gain_velocity * innovation_var * gain_velocity;
    }
    void Scale(double by) {
      position *= by;
      velocity *= by;
      var_position *= by * by;
      covariance *= by * by;
      var_velocity *= by * by;
    }
  };

  // cx, cy, aspect, height.
  const std::array<Axis, 4>& axes() const { return axes_; }

 private:
  // Standard deviations as a part of the box's height.
  static constexpr double kPositionWeight = 1.0 / 20;
  static constexpr double kVelocityWeight = 1.0 / 160;

  std::array<Axis, 4> axes_;
};

}  // namespace sightline
