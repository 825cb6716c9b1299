#include "base/number_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace sightline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::array<std::string_view, 3> kNames = {"a", "b", "c"};

struct Result {
  std::vector<std::vector<double>> lines;
  std::vector<size_t> numbers;
  absl::Status status;
};

Result Read(std::string_view text, size_t least) {
  Result result;
  result.status = ForEachNumberLine(text, {.names = kNames, .least = least},
                                    [&](size_t line, std::span<const double> values) {
                                      result.numbers.push_back(line);
                                      result.lines.emplace_back(values.begin(), values.end());
                                      return absl::OkStatus();
                                    });
  return result;
}

TEST(NumberLines, WhateverEditorsDo) {
  const Result result = Read(
      "\xEF\xBB\xBF"
      "1,2\r\n\n \t\n 3 ,\t4,5,beyond,\r\n6,7,",
      2);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_THAT(result.numbers, ElementsAre(1, 4, 5));
  EXPECT_THAT(result.lines,
              ElementsAre(ElementsAre(1, 2), ElementsAre(3, 4, 5), ElementsAre(6, 7)));
}

TEST(NumberLines, ErrorsNameLineAndColumn) {
  const auto error = [](std::string_view text, size_t least) {
    return std::string(MessageOf(Read(text, least).status));
  };
  EXPECT_EQ(error("1,2", 3), "line 1: 2 columns in \"1,2\", expected a,b,c");
  EXPECT_EQ(error("1", 2), "line 1: 1 columns in \"1\", expected a,b");
  EXPECT_EQ(error("1,2\n1,x", 2), "line 2: b is \"x\", expected a number");
  EXPECT_EQ(error("1,2,x", 2), "line 1: c is \"x\", expected a number");
  EXPECT_EQ(error("1,,3", 2), "line 1: b is \"\", expected a number");
  EXPECT_THAT(error("1,nan", 2), HasSubstr("b is \"nan\""));
  EXPECT_THAT(error("1,1e999", 2), HasSubstr("b is \"1e999\""));
  EXPECT_THAT(error(std::string("\x01\x7f") + std::string(100, 'y'), 1),
              HasSubstr("a is \"??yyyy"));
}

TEST(NumberLines, TheCallerMayStop) {
  int calls = 0;
  const absl::Status status =
      ForEachNumberLine("1\n2\n3", {.names = kNames, .least = 1},
                        [&](size_t, std::span<const double>) -> absl::Status {
                          return ++calls == 2 ? Cancelled("enough") : absl::OkStatus();
                        });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace sightline
