#include "base/ascii_text.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

TEST(AsciiText, LowersLettersAlone) { EXPECT_EQ(AsciiLower("RTSP-\xC3\x84z9"), "rtsp-\xC3\x84z9"); }

TEST(AsciiText, DecodesEscapesAndKeepsTheRest) {
  std::string decoded = "old";
  EXPECT_TRUE(PercentDecode("a%20b%2Fc%2f%25", &decoded));
  EXPECT_EQ(decoded, "a b/c/%");
  EXPECT_TRUE(PercentDecode("", &decoded));
  EXPECT_EQ(decoded, "");
  for (const char* broken : {"%", "%4", "%g0", "%0g", "a%%"}) {
    EXPECT_FALSE(PercentDecode(broken, &decoded)) << broken;
    EXPECT_EQ(decoded, broken);
  }
}

TEST(AsciiText, ShowsOthersWordsOnOneLine) {
  EXPECT_EQ(ShownText("a b", 10), "a b");
  EXPECT_EQ(ShownText("\x1b[2J\r\n\x7f\xC3\x84", 10), "?[2J  ???");
  EXPECT_EQ(ShownText("0123456789a", 10), "0123456789...");
  EXPECT_EQ(ShownText("", 10), "");
}

TEST(NextPair, TakesAQueryApart) {
  std::string_view query = "&a=1&&b=&c&d=x=y&";
  std::string_view key;
  std::string_view value;
  std::string all;
  while (NextPair(&query, &key, &value)) all += std::string(key) + ":" + std::string(value) + ";";
  EXPECT_EQ(all, "a:1;b:;c:;d:x=y;");
}

}  // namespace
}  // namespace sightline
