#include "base/listen_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline {
namespace {

using ::testing::HasSubstr;

TEST(ListenAddressTest, EveryFormIsRead) {
  const auto shown = [](std::string_view text) {
    const auto address = ParseListenAddress(text);
    return address.ok() ? ToString(*address) : "refused";
  };
  EXPECT_EQ(shown("9100"), "127.0.0.1:9100");
  EXPECT_EQ(shown("0"), "127.0.0.1:0");
  EXPECT_EQ(shown(":9100"), ":9100");
  EXPECT_EQ(shown("localhost:1"), "127.0.0.1:1");
  EXPECT_EQ(shown("10.0.0.7:65535"), "10.0.0.7:65535");
  EXPECT_EQ(shown("[::1]:9100"), "[::1]:9100");
  for (const char* wrong : {"", ":", "x", "65536", "-1", "1 ", "::1:9100", "[]:1", "[1.2.3.4]:1",
                            "example.org:80", "1.2.3:4", "9100:", "0x10"}) {
    EXPECT_EQ(shown(wrong), "refused") << wrong;
  }
  EXPECT_THAT(std::string(MessageOf(ParseListenAddress("door").status())),
              HasSubstr("ADDRESS:PORT"));
}

}  // namespace
}  // namespace sightline
