// For tests: the files under tests/golden/families, which the families' own references made.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "types/detections.h"
#include "types/tensor.h"

namespace sightline::golden {

inline std::string Folder() {
  return std::string(SIGHTLINE_SOURCE_DIR) + "/tests/golden/families/";
}

struct Golden {
  nlohmann::json about;
  std::vector<float> raw;

  static Golden Load(const std::string& name) {
    Golden golden;
    std::ifstream text(Folder() + name + ".json");
    golden.about = nlohmann::json::parse(text, nullptr, false);
    EXPECT_FALSE(golden.about.is_discarded()) << name;
    std::ifstream numbers(Folder() + name + ".f32", std::ios::binary | std::ios::ate);
    const auto bytes = static_cast<size_t>(std::max<std::streamoff>(numbers.tellg(), 0));
    golden.raw.resize(bytes / sizeof(float));
    numbers.seekg(0);
    numbers.read(reinterpret_cast<char*>(golden.raw.data()),
                 static_cast<std::streamsize>(golden.raw.size() * sizeof(float)));
    EXPECT_FALSE(golden.raw.empty()) << name << ".f32 is missing or empty";
    return golden;
  }
  nlohmann::json const& cases() const { return about.at("cases"); }
};

struct Raw {
  TensorInfo info;  // of the whole batch
  const float* data = nullptr;
  std::vector<float> sparse;      // what `data` points to, of tensors stored as runs
  std::vector<int64_t> integers;  // of outputs that are integers in the file

  int64_t per_entry() const {
    int64_t n = 1;
    for (size_t d = 1; d < info.shape.size(); ++d) n *= info.shape[d];
    return n;
  }
  // Entry `entry` as a batch of one.
  TensorView Alone(int entry) const {
    std::vector<int64_t> shape = info.shape;
    shape[0] = 1;
    if (integers.empty()) return {DataType::kFloat32, shape, data + per_entry() * entry};
    return {DataType::kInt64, shape, integers.data() + per_entry() * entry};
  }
  TensorView Whole() const {
    return {info.dtype, info.shape,
            integers.empty() ? static_cast<const void*>(data) : integers.data()};
  }
};

// Of a case, or of one entry where models take one picture at a time.
inline std::vector<Raw> RawOf(const Golden& golden, const nlohmann::json& holder) {
  std::vector<Raw> all;
  for (const nlohmann::json& r : holder.at("raw")) {
    Raw& raw = all.emplace_back();
    raw.info = {r.at("name"), DataType::kFloat32, r.at("shape").get<std::vector<int64_t>>()};
    const int64_t count = raw.info.shape.empty() ? 1 : raw.per_entry() * raw.info.shape[0];
    if (r.contains("runs")) {  // [first, count, offset], zeros elsewhere
      raw.sparse.assign(static_cast<size_t>(count), 0.0f);
      for (const nlohmann::json& run : r["runs"]) {
        std::copy_n(golden.raw.begin() + run[2].get<int64_t>(), run[1].get<int64_t>(),
                    raw.sparse.begin() + run[0].get<int64_t>());
      }
      raw.data = raw.sparse.data();
    } else {
      raw.data = golden.raw.data() + r.at("offset").get<size_t>();
    }
    for (const nlohmann::json& output : golden.about.at("outputs")) {
      if (output.at("name") != r.at("name") || output.value("dtype", "") != "int64") {
        continue;
      }
      raw.info.dtype = DataType::kInt64;
      for (int64_t i = 0; i < count; ++i) {
        raw.integers.push_back(static_cast<int64_t>(std::lround(raw.data[i])));
      }
    }
  }
  return all;
}

inline bool IsUnbatched(const Golden& golden) { return golden.about.value("unbatched", false); }

// The grid as bits, row by row.
inline std::vector<bool> Bits(const InstanceMask& mask) {
  std::vector<bool> bits;
  bool object = false;
  for (const uint32_t run : mask.runs) {
    bits.insert(bits.end(), run, object);
    object = !object;
  }
  EXPECT_EQ(bits.size(), static_cast<size_t>(mask.width) * mask.height);
  return bits;
}

inline std::vector<bool> ExpectedBits(const nlohmann::json& mask, int width, int height) {
  std::vector<bool> bits(static_cast<size_t>(width) * height, false);
  const int x0 = mask.at("x"), y0 = mask.at("y"), w = mask.at("w");
  int at = 0;
  bool object = false;
  for (const int run : mask.at("rle")) {
    for (int i = 0; i < run; ++i, ++at) {
      bits[static_cast<size_t>(y0 + at / w) * width + x0 + at % w] = object;
    }
    object = !object;
  }
  return bits;
}

}  // namespace sightline::golden
