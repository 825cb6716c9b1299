#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "store/full_disk_test_internal.h"
#include "store/jsonl_format.h"
#include "store/jsonl_sink.h"
#include "store/store_test_support.h"
#include "store/synthetic_results.h"

namespace sightline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(text, out);
  return out;
}

TEST(JsonString, EscapesAndKeepsUtf8) {
  EXPECT_EQ(Quoted("plain"), "\"plain\"");
  EXPECT_EQ(Quoted("a\"b\\c\n\t\r"), "\"a\\\"b\\\\c\\n\\t\\r\"");
  EXPECT_EQ(Quoted(std::string_view("\0\x1f\x7f", 3)), "\"\\u0000\\u001f\\u007f\"");
  EXPECT_EQ(Quoted("Fußgänger 行人 🚶"), "\"Fußgänger 行人 🚶\"");
}

TEST(JsonString, InvalidUtf8BecomesTheReplacementCharacter) {
  constexpr const char* kR = "\xEF\xBF\xBD";
  EXPECT_EQ(Quoted("a\xFFz"), fmt::format("\"a{}z\"", kR));
  EXPECT_EQ(Quoted("\xC0\xAF"), fmt::format("\"{0}{0}\"", kR));         // overlong
  EXPECT_EQ(Quoted("\xED\xA0\x80"), fmt::format("\"{0}{0}{0}\"", kR));  // surrogate
  EXPECT_EQ(Quoted("\xF4\x90\x80\x80"), fmt::format("\"{0}{0}{0}{0}\"", kR));
  EXPECT_EQ(Quoted("\xE4\xB8"), fmt::format("\"{0}{0}\"", kR));  // cut short
}

TEST(JsonString, AnyBytesGiveValidJson) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 24, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    EXPECT_TRUE(Json::accept(Quoted(bytes)));
  }
}

TEST(JsonFrameLine, SaysWhatTheFrameHeld) {
  const FrameResult frame = SyntheticResults("door", 3, 2).Frame(49);
  std::string line;
  AppendFrameLine(frame, line);
  ASSERT_EQ(line.back(), '\n');
  ASSERT_EQ(line.find('\n'), line.size() - 1);
  const Json json = Json::parse(line);
  EXPECT_EQ(json["camera"], "door");
  EXPECT_EQ(json["frame"], 49);
  EXPECT_EQ(json["pts_us"], 1'960'000);
  EXPECT_EQ(json["epoch"], 0);
  EXPECT_EQ(json["timestamp"], "2026-01-01T00:00:01.960000Z");
  EXPECT_EQ(json["width"], 768);
  EXPECT_EQ(json["height"], 576);
  ASSERT_EQ(json["detections"].size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const Detection& detection = frame.detections.items[i];
    const Json& object = json["detections"][i];
    EXPECT_EQ(object["id"], ToString(frame.detection_ids[i]));
    EXPECT_EQ(object["class_id"], detection.class_id);
    EXPECT_EQ(object["class"], fmt::format("class_{}", detection.class_id));
    EXPECT_EQ(object["confidence"].get<float>(), detection.confidence);
    EXPECT_EQ(object["box_xyxy_px"][0].get<float>(), detection.box_px.x1);
    EXPECT_EQ(object["box_xyxy_px"][3].get<float>(), detection.box_px.y2);
  }
  EXPECT_EQ(json["detections"][1]["track_id"], 2);
  EXPECT_TRUE(json["detections"][2]["track_id"].is_null());
  ASSERT_EQ(json["events"].size(), 2u);
  EXPECT_EQ(json["events"][0]["kind"], "line_cross");
  EXPECT_EQ(json["events"][0]["rule"], "gate");
  EXPECT_EQ(json["events"][0]["direction"], "in");
  EXPECT_FALSE(json["events"][0].contains("dwell_us"));
  EXPECT_EQ(json["events"][1]["kind"], "zone_exit");
  EXPECT_EQ(json["events"][1]["dwell_us"], 2'500'000);
}

TEST(JsonFrameLine, OddNumbersStayJson) {
  FrameResult frame = SyntheticResults("door", 2).Frame(0);
  frame.detections.items[0].confidence = std::nanf("");
  frame.detections.items[0].box_px = {1e-30f, -1e30f, std::numeric_limits<float>::infinity(), 3};
  frame.detections.items[1].class_id = 77;
  std::string line;
  AppendFrameLine(frame, line);
  const Json json = Json::parse(line);
  EXPECT_TRUE(json["detections"][0]["confidence"].is_null());
  EXPECT_TRUE(json["detections"][0]["box_xyxy_px"][2].is_null());
  EXPECT_EQ(json["detections"][0]["box_xyxy_px"][1].get<float>(), -1e30f);
  EXPECT_EQ(json["detections"][1]["class"], "class 77");
}

TEST(JsonFrameLine, TimestampsAreThoseOfTheClock) {
  FrameResult frame = SyntheticResults("door", 0).Frame(0);
  const auto timestamp_of = [&](int64_t utc_us) {
    frame.frame.meta.time.capture_utc_us = utc_us;
    std::string line;
    AppendFrameLine(frame, line);
    return Json::parse(line)["timestamp"].get<std::string>();
  };
  std::mt19937_64 random(11);
  for (int i = 0; i < 3000; ++i) {
    // Years 1 to 9999.
    const int64_t utc_us =
        static_cast<int64_t>(random() % 315'537'811'200'000'000ull) - 62'135'596'800'000'000;
    EXPECT_EQ(timestamp_of(utc_us), FormatUtc(utc_us).insert(0, [&] {
      const size_t digits = FormatUtc(utc_us).find('-', 1);
      return std::string(digits < 4 ? 4 - digits : 0, '0');
    }()));
  }
  EXPECT_EQ(timestamp_of(-1), "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(timestamp_of(951'782'400'000'000), "2000-02-29T00:00:00.000000Z");
  EXPECT_EQ(timestamp_of(std::numeric_limits<int64_t>::max()), "9999-12-31T23:59:59.999999Z");
  EXPECT_EQ(timestamp_of(std::numeric_limits<int64_t>::min()), "0000-01-01T00:00:00.000000Z");
}

TEST(JsonDetectLine, HasTheDocumentedFieldsInOrder) {
  FrameResult frame = SyntheticResults("door", 1).Frame(3);
  frame.detections.items[0] = {{1.5f, 2, 30.25f, 40}, 0.5f, 0};
  std::string line;
  AppendDetectLine("a \"b\".jpg", frame.detections, line);
  EXPECT_EQ(line,
            "{\"input\":\"a \\\"b\\\".jpg\",\"frame\":3,\"pts_us\":120000,\"width\":768,"
            "\"height\":576,\"detections\":[{\"class_id\":0,\"class\":\"class_0\","
            "\"confidence\":0.5,\"box_xyxy_px\":[1.5,2,30.25,40]}]}\n");
}

std::unique_ptr<JsonlSink> MustCreate(const JsonlSinkOptions& options) {
  auto sink = JsonlSink::Create(options);
  EXPECT_TRUE(sink.ok()) << sink.status();
  return sink.ok() ? *std::move(sink) : nullptr;
}

size_t Lines(const std::string& path) {
  const std::string text = ReadFile(path);
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST(JsonlSink, TheFileAppearsWhole) {
  const TemporaryFolder folder;
  const SyntheticResults source;
  const std::string path = folder / "a.jsonl";
  WriteFile(path, "the run before\n");
  const auto sink = MustCreate({.path = path, .flush_bytes = 100});
  for (uint64_t i = 0; i < 20; ++i) ASSERT_TRUE(sink->Write(source.Frame(i)).ok());
  EXPECT_EQ(ReadFile(path), "the run before\n");
  EXPECT_EQ(Lines(path + ".partial"), 20u);
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_TRUE(sink->Close().ok());
  EXPECT_EQ(Lines(path), 20u);
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
}

TEST(JsonlSink, TheEndOfTheStreamIsALineOnlyWhenSomethingHappened) {
  const TemporaryFolder folder;
  const auto sink = MustCreate({.path = folder / "a.jsonl"});
  FrameResult end;
  end.frame.meta = SyntheticResults().Frame(9).frame.meta;
  end.end_of_stream = true;
  ASSERT_TRUE(sink->Write(end).ok());
  end.events = SyntheticResults().Frame(9).events;
  ASSERT_TRUE(sink->Write(end).ok());
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_EQ(Lines(folder / "a.jsonl"), 1u);
  EXPECT_EQ(Json::parse(ReadFile(folder / "a.jsonl"))["end_of_stream"], true);
}

// A frame of a camera's life, and the first life that this one replaces.
FrameResult FrameOfLife(const std::string& camera, uint32_t life, uint32_t replaces_from,
                        uint64_t ordinal) {
  FrameResult frame = SyntheticResults(camera).Frame(ordinal);
  frame.frame.meta.camera = std::make_shared<const CameraInfo>(
      CameraInfo{.id = camera, .source = "s", .life = life, .replaces_from = replaces_from});
  return frame;
}

std::vector<std::string> CamerasAndFramesIn(const std::string& path) {
  std::vector<std::string> lines;
  std::istringstream text(ReadFile(path));
  for (std::string line; std::getline(text, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    EXPECT_TRUE(json.is_object()) << line;
    if (json.is_object()) {
      lines.push_back(
          fmt::format("{} {}", json["camera"].get<std::string>(), json["frame"].get<uint64_t>()));
    }
  }
  return lines;
}

TEST(JsonlSink, ARecordingThatIsReadAgainHasTheLinesOfItsLastReading) {
  // All in the file, some of it, all in memory.
  for (const int64_t flush_bytes : {1, 3000, 1 << 20}) {
    SCOPED_TRACE(flush_bytes);
    const TemporaryFolder folder;
    const std::string path = folder / "lines.jsonl";
    JsonlSinkOptions options;
    options.path = path;
    options.flush_bytes = flush_bytes;
    options.flush_ms = 1'000'000;
    auto sink = JsonlSink::Create(options);
    ASSERT_TRUE(sink.ok()) << sink.status();
    const auto write = [&](const char* camera, uint32_t life, uint32_t replaces_from,
                           std::initializer_list<uint64_t> frames) {
      for (const uint64_t frame : frames) {
        ASSERT_TRUE((*sink)->Write(FrameOfLife(camera, life, replaces_from, frame)).ok());
      }
    };
    write("gate", 0, 0, {0, 1, 2});
    write("yard", 0, 0, {0, 1});
    write("gate", 1, 1, {10, 11});  // another source: what there was stays
    write("roof", 0, 0, {0});
    write("gateway", 0, 0, {0});
    write("yard", 0, 0, {2});
    write("gate", 2, 1, {10});  // read again: 10 and 11 go
    write("roof", 0, 0, {1});
    write("roof", 1, 0, {0, 1, 2});
    write("gate", 3, 1, {10, 11, 12});
    write("yard", 1, 0, {0});
    // A reading that gave nothing.
    const CameraInfo roof{.id = "roof", .source = "s", .life = 2, .replaces_from = 0};
    ASSERT_TRUE((*sink)->WriteLedger(roof, FrameCounts()).ok());
    write("gateway", 0, 0, {1});
    ASSERT_TRUE((*sink)->Close().ok());
    EXPECT_THAT(CamerasAndFramesIn(path),
                ::testing::ElementsAre("gate 0", "gate 1", "gate 2", "gateway 0", "gate 10",
                                       "gate 11", "gate 12", "yard 0", "gateway 1"));
  }
}

TEST(JsonlSink, LinesThatAreAppendedAreNeverTakenBack) {
  const TemporaryFolder folder;
  JsonlSinkOptions options;
  options.path = folder / "lines.jsonl";
  options.append = true;
  auto sink = JsonlSink::Create(options);
  ASSERT_TRUE(sink.ok()) << sink.status();
  ASSERT_TRUE((*sink)->Write(FrameOfLife("gate", 0, 0, 0)).ok());
  ASSERT_TRUE((*sink)->Write(FrameOfLife("gate", 1, 0, 0)).ok());
  ASSERT_TRUE((*sink)->Close().ok());
  EXPECT_EQ(CamerasAndFramesIn(options.path).size(), 2u);
}

TEST(JsonlSink, AppendsAndCutsATornLine) {
  const TemporaryFolder folder;
  const SyntheticResults source;
  const std::string path = folder / "live.jsonl";
  for (uint64_t run = 0; run < 3; ++run) {
    const auto sink = MustCreate({.path = path, .append = true});
    ASSERT_TRUE(sink->Write(source.Frame(run)).ok());
    ASSERT_TRUE(sink->Close().ok());
    EXPECT_EQ(Lines(path), run + 1);
    const std::string whole = ReadFile(path);
    WriteFile(path, whole + std::string(10'000, '{'));
  }
  const auto sink = MustCreate({.path = path, .append = true});
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_EQ(Lines(path), 3u);
  EXPECT_EQ(ReadFile(path).back(), '\n');
  WriteFile(folder / "notes.txt", "no line of JSON");
  EXPECT_EQ(JsonlSink::Create({.path = folder / "notes.txt", .append = true}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadFile(folder / "notes.txt"), "no line of JSON");
}

TEST(JsonlSink, FlushesWhenTheTimeIsUp) {
  const TemporaryFolder folder;
  ManualClock clock;
  const std::string path = folder / "a.jsonl";
  const auto sink = MustCreate({.path = path, .append = true, .flush_ms = 500, .clock = &clock});
  ASSERT_TRUE(sink->Write(SyntheticResults().Frame(0)).ok());
  EXPECT_EQ(Lines(path), 0u);
  clock.now_us += 500'000;
  ASSERT_TRUE(sink->FlushIfDue().ok());
  EXPECT_EQ(Lines(path), 1u);
}

TEST(JsonlSink, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  for (const std::string& path : {folder / "none/a.jsonl", folder.path()}) {
    const absl::Status status = JsonlSink::Create({.path = path}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(ErrorText(status), HasSubstr(path));
  }
  EXPECT_EQ(JsonlSink::Create({.path = ""}).status().code(), absl::StatusCode::kInvalidArgument);
}

// Linux' own full disk.
TEST(JsonlSink, DevFull) {
  const auto sink = MustCreate({.path = "/dev/full", .append = true, .flush_bytes = 1});
  const absl::Status status = sink->Write(SyntheticResults().Frame(0));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(ErrorText(status), HasSubstr("/dev/full"));
  EXPECT_EQ(sink->Close(), status);
}

TEST(JsonlSink, DiskFullKeepsWholeLines) {
  const TemporaryFolder folder;
  const std::string disk = folder / "disk";
  ASSERT_EQ(mkdir(disk.c_str(), 0755), 0);
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "only root can mount a small disk; DevFull stands in";
  }
  {
    const auto sink = MustCreate({.path = disk + "/a.jsonl", .flush_bytes = 10'000});
    absl::Status status;
    for (uint64_t i = 0; i < 10'000 && status.ok(); ++i) {
      status = sink->Write(SyntheticResults().Frame(i));
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(ErrorText(status), HasSubstr("a.jsonl.partial"));
    EXPECT_THAT(ErrorText(status), Not(HasSubstr("\n")));
    EXPECT_EQ(sink->Close(), status);
    std::istringstream lines(ReadFile(disk + "/a.jsonl.partial"));
    size_t whole = 0;
    for (std::string line; std::getline(lines, line); ++whole) EXPECT_TRUE(Json::accept(line));
    EXPECT_GT(whole, 200u);
  }
  EXPECT_EQ(umount(disk.c_str()), 0);
}

// Lines are neither lost nor doubled, and none is torn.
TEST(JsonlSink, WaitsForRoom) {
  const TemporaryFolder folder;
  std::string whole;
  for (const bool full : {false, true}) {
    const std::string path = folder / (full ? "full.jsonl" : "whole.jsonl");
    const auto wait = std::make_shared<OutputWait>();
    const auto sink = MustCreate({.path = path, .append = true, .flush_bytes = 3000, .wait = wait});
    const auto write = [&] {
      for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(sink->Write(SyntheticResults().Frame(i)).ok());
    };
    if (full) {
      WithFullDisk(*wait, write);
    } else {
      write();
    }
    ASSERT_TRUE(sink->Close().ok());
    EXPECT_EQ(Lines(path), 100u);
    if (full) {
      EXPECT_EQ(ReadFile(path), whole);
    } else {
      whole = ReadFile(path);
    }
  }
}

}  // namespace
}  // namespace sightline
