// For this module's tests: a picture of one's own, and hashes of what is in it.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "sim/renderer.h"

namespace sightline::sim::test {

struct TestPicture {
  TestPicture(int width, int height) {
    const auto luma = static_cast<size_t>(width) * static_cast<size_t>(height);
    const size_t chroma =
        static_cast<size_t>((width + 1) / 2) * static_cast<size_t>((height + 1) / 2);
    bytes.resize(luma + 2 * chroma);
    const int half = (width + 1) / 2;
    canvas = {.width = width,
              .height = height,
              .planes = {bytes.data(), bytes.data() + luma, bytes.data() + luma + chroma},
              .strides = {width, half, half}};
  }
  std::vector<uint8_t> bytes;
  Canvas canvas;
};

// Adds every bit of the truth.
inline void AppendTruth(const Truth& truth, std::vector<uint8_t>* bytes) {
  const auto add = [bytes](const auto& value) {
    uint8_t raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    bytes->insert(bytes->end(), raw, raw + sizeof value);
  };
  for (const TruthObject& object : truth.objects) {
    add(object.id);
    add(object.object_class);
    add(object.box_px.x1);
    add(object.box_px.y1);
    add(object.box_px.x2);
    add(object.box_px.y2);
    add(object.visible);
  }
}

}  // namespace sightline::sim::test
