// Ids against those of the reference implementation (tests/golden/bytetrack, made by
// tools/golden/bytetrack_ids.py): at least 99.5 % of its boxes must carry the same id.
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include "track/mot_file.h"
#include "track/tracker.h"

namespace sightline {
namespace {

using nlohmann::json;

constexpr double kEqualIds = 0.995;

// (frame, row of the frame's detections) -> id and box (x, y, w, h; empty where not stored).
struct Output {
  int64_t id = 0;
  std::vector<double> box;
};
using Outputs = std::map<std::pair<int64_t, int32_t>, Output>;

std::string GoldenFolder() {
  return std::string(SIGHTLINE_SOURCE_DIR) + "/tests/golden/bytetrack/";
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Outputs ReadExpected(const std::string& path, const std::string& kind) {
  Outputs expected;
  std::istringstream text(ReadText(path));
  std::string line;
  while (std::getline(text, line)) {
    int64_t frame = 0;
    Output output;
    int32_t row = 0;
    if (kind == "boxes") {
      double score = 0;
      output.box.resize(4);
      EXPECT_EQ(
          std::sscanf(line.c_str(), "%ld,%ld,%d,%lf,%lf,%lf,%lf,%lf", &frame, &output.id, &row,
                      &score, &output.box[0], &output.box[1], &output.box[2], &output.box[3]),
          8);
      expected[{frame, row}] = output;
      continue;
    }
    std::istringstream words(line);
    words >> frame;
    std::string word;
    while (words >> word) {
      EXPECT_EQ(std::sscanf(word.c_str(), "%ld:%d", &output.id, &row), 2);
      expected[{frame, row}] = output;
    }
  }
  return expected;
}

Outputs Track(const std::vector<MotRow>& rows, const json& index, const json& entry) {
  TrackerOptions options;
  options.reference_quirks = true;
  options.track_threshold = entry.at("track_thresh");
  options.match_threshold = index.at("match_thresh");
  options.track_buffer = index.at("track_buffer");
  options.frame_rate = entry.at("frame_rate");
  auto tracker = MakeTracker(options);
  EXPECT_TRUE(tracker.ok()) << tracker.status();
  Outputs outputs;
  size_t next = 0;
  for (int64_t frame = 1; frame <= entry.at("frames").get<int64_t>(); ++frame) {
    Detections detections;
    detections.frame.ordinal = static_cast<uint64_t>(frame - 1);
    for (; next < rows.size() && rows[next].frame == frame; ++next) {
      detections.items.push_back(rows[next].detection);
    }
    Tracks tracks;
    EXPECT_TRUE((*tracker)->Update(detections, &tracks).ok());
    for (const TrackedObject& object : tracks.items) {
      const Box& b = object.box_px;
      outputs[{frame, object.detection}] = {object.track_id, {b.x1, b.y1, b.width(), b.height()}};
    }
  }
  return outputs;
}

// The part of all boxes, the reference's and ours, that both have with the same id.
double Agreement(const Outputs& expected, const Outputs& outputs) {
  size_t equal = 0;
  std::set<std::pair<int64_t, int32_t>> all;
  for (const auto& [key, output] : expected) {
    all.insert(key);
    const auto found = outputs.find(key);
    if (found == outputs.end() || found->second.id != output.id) continue;
    ++equal;
    for (size_t i = 0; i < output.box.size(); ++i) {
      EXPECT_NEAR(found->second.box[i], output.box[i], 0.01) << "frame " << key.first;
    }
  }
  for (const auto& [key, output] : outputs) all.insert(key);
  return static_cast<double>(equal) / static_cast<double>(all.size());
}

// The "ids" form of tests/golden/README.md, the pairs of each frame by rising id.
std::string TextById(const Outputs& outputs) {
  std::map<int64_t, std::map<int64_t, int32_t>> frames;
  for (const auto& [key, output] : outputs) frames[key.first][output.id] = key.second;
  std::ostringstream text;
  for (const auto& [frame, rows] : frames) {
    text << frame;
    for (const auto& [id, row] : rows) text << ' ' << id << ':' << row;
    text << '\n';
  }
  return text.str();
}

std::string Sha256(const std::string& text) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  std::string hex;
  for (const unsigned char byte : digest) {
    constexpr char kHex[] = "0123456789abcdef";
    hex += kHex[byte >> 4];
    hex += kHex[byte & 15];
  }
  return hex;
}

// Of the longest sequences only sums are stored, those of all ids among them.
void CompareSums(const json& entry, const Outputs& outputs) {
  std::set<int64_t> ids;
  for (const auto& [key, output] : outputs) ids.insert(output.id);
  EXPECT_EQ(Sha256(TextById(outputs)), entry.at("ids_by_id_sha256")) << "an id or a box differs";
  EXPECT_EQ(outputs.size(), entry.at("rows").get<size_t>());
  EXPECT_EQ(ids.size(), entry.at("ids").get<size_t>());
  EXPECT_EQ(*ids.rbegin(), entry.at("largest_id").get<int64_t>());
}

void Compare(const json& index, const json& entry, const std::string& det_path) {
  SCOPED_TRACE(entry.dump());
  const auto rows = ReadMotDetections(det_path);
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), entry.at("det_rows").get<size_t>());
  if (!entry.contains("file")) return CompareSums(entry, Track(*rows, index, entry));
  const Outputs expected = ReadExpected(GoldenFolder() + entry.at("file").get<std::string>(),
                                        entry.at("kind").get<std::string>());
  ASSERT_EQ(expected.size(), entry.at("rows").get<size_t>());
  ASSERT_GE(expected.size(), 5u) << "an empty golden proves nothing";
  const double agreement = Agreement(expected, Track(*rows, index, entry));
  std::printf("%-28s %6zu boxes, equal ids %.3f %%\n", entry.at("file").get<std::string>().c_str(),
              expected.size(), 100 * agreement);
  EXPECT_GE(agreement, entry.contains("seed") ? 1.0 : kEqualIds);  // made sequences are exact
}

json ReadIndex() {
  const std::string text = ReadText(GoldenFolder() + "index.json");
  return text.empty() ? json() : json::parse(text);
}

TEST(ByteTrackGolden, MadeSequences) {
  const json index = ReadIndex();
  if (index.is_null()) GTEST_SKIP() << "no tests/golden/bytetrack/index.json";
  ASSERT_FALSE(index.at("made").empty());
  for (const json& entry : index.at("made")) {
    Compare(index, entry, GoldenFolder() + entry.at("det").get<std::string>());
  }
}

TEST(ByteTrackGolden, RecordedSequences) {
  const char* data = std::getenv("SIGHTLINE_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "SIGHTLINE_TEST_DATA is not set: no recorded detections";
  const json index = ReadIndex();
  if (index.is_null()) GTEST_SKIP() << "no tests/golden/bytetrack/index.json";
  ASSERT_FALSE(index.at("recorded").empty());
  for (const json& entry : index.at("recorded")) {
    const std::string path = std::string(data) + "/" + entry.at("det").get<std::string>();
    if (!std::ifstream(path).good()) GTEST_SKIP() << "no file " << path;
    Compare(index, entry, path);
  }
}

}  // namespace
}  // namespace sightline
