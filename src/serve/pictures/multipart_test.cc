#include "serve/pictures/multipart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;

constexpr char kGood[] =
    "what mail programs show\r\n"
    "--xx\r\nContent-Disposition: form-data; name=\"max\"\r\n\r\n5\r\n"
    "--xx \r\ncontent-disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".jpg\"\r\n"
    "Content-Type: image/jpeg\r\n\r\nAB\r\n--x\r\nCD\r\n"
    "--xx\r\nContent-Disposition: form-data; name=empty; filename=\"\"\r\n\r\n\r\n"
    "--xx--\r\nrest";

TEST(Multipart, ReadsTheParts) {
  const auto parts = ReadFormParts(kGood, "xx");
  ASSERT_TRUE(parts.ok()) << parts.status();
  ASSERT_EQ(parts->size(), 3u);
  EXPECT_EQ((*parts)[0].name, "max");
  EXPECT_EQ((*parts)[0].content, "5");
  EXPECT_FALSE((*parts)[0].is_file);
  EXPECT_EQ((*parts)[1].file_name, "a \"b\".jpg");
  EXPECT_EQ((*parts)[1].type, "image/jpeg");
  EXPECT_EQ((*parts)[1].content, "AB\r\n--x\r\nCD");
  EXPECT_TRUE((*parts)[2].is_file);
  EXPECT_EQ((*parts)[2].content, "");
}

TEST(Multipart, EveryCutIsAnError) {
  const std::string whole = kGood;
  const size_t end = whole.find("--xx--") + 4;
  for (size_t length = 0; length < end; ++length) {
    EXPECT_FALSE(ReadFormParts(whole.substr(0, length), "xx").ok()) << length;
  }
}

TEST(Multipart, RefusesWhatIsNoForm) {
  const auto refused = [](std::string_view body) {
    const auto parts = ReadFormParts(body, "xx");
    return parts.ok() ? std::string() : std::string(parts.status().message());
  };
  EXPECT_THAT(refused("--xx\r\n\r\nA\r\n--xx--"), HasSubstr("no Content-Disposition"));
  EXPECT_THAT(refused("--xx\r\nContent-Disposition: attachment; name=a\r\n\r\nA\r\n--xx--"),
              HasSubstr("form-data with a name"));
  EXPECT_THAT(refused("--xx\r\nno header\r\n\r\nA\r\n--xx--"), HasSubstr("no name"));
  EXPECT_THAT(refused("--xxy\r\n"), HasSubstr("part of another line"));
  EXPECT_THAT(refused("--xx\r\nContent-Disposition: form-data; name=a\r\n"
                      "Content-Transfer-Encoding: base64\r\n\r\nA\r\n--xx--"),
              HasSubstr("as they are"));
  std::string many;
  for (size_t i = 0; i <= kMostFormParts; ++i) {
    many += "--xx\r\nContent-Disposition: form-data; name=a\r\n\r\nA\r\n";
  }
  EXPECT_THAT(refused(many + "--xx--"), HasSubstr("more than"));
  const std::string long_head(kMostPartHeaderBytes, 'h');
  EXPECT_THAT(refused("--xx\r\nA: " + long_head + "\r\n\r\nA\r\n--xx--"), HasSubstr("do not end"));
}

TEST(Multipart, BoundariesAreTakenFromTheHeader) {
  EXPECT_EQ(*BoundaryOf("multipart/form-data; boundary=abc"), "abc");
  EXPECT_EQ(*BoundaryOf("multipart/form-data; charset=utf-8; Boundary=\"a:b\""), "a:b");
  EXPECT_FALSE(BoundaryOf("multipart/form-data").ok());
  EXPECT_FALSE(BoundaryOf("multipart/form-data; boundary=").ok());
  EXPECT_FALSE(BoundaryOf("multipart/form-data; boundary=\"abc").ok());
  EXPECT_FALSE(BoundaryOf("multipart/form-data; boundary=" + std::string(71, 'a')).ok());
}

}  // namespace
}  // namespace sightline::serve
