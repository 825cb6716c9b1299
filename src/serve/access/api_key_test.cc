#include "serve/access/api_key.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace sightline::serve {
namespace {

TEST(ApiKey, EachIsAnotherAndHasItsId) {
  std::set<std::string> ids, keys;
  for (int i = 0; i < 100; ++i) {
    const auto key = MakeApiKey();
    ASSERT_TRUE(key.ok());
    EXPECT_EQ(key->size(), 4 + kKeyIdSize + 1 + kKeySecretSize);
    EXPECT_TRUE(IsKeyId(KeyIdOf(*key))) << *key;
    ids.emplace(KeyIdOf(*key));
    keys.insert(*key);
  }
  EXPECT_EQ(ids.size(), 100u);
  EXPECT_EQ(keys.size(), 100u);
}

TEST(ApiKey, WhatIsNoKeyHasNoId) {
  const std::string key = *MakeApiKey();
  EXPECT_EQ(KeyIdOf(""), "");
  EXPECT_EQ(KeyIdOf(key.substr(1)), "");
  EXPECT_EQ(KeyIdOf(key + "A"), "");
  EXPECT_EQ(KeyIdOf(key.substr(0, key.size() - 1)), "");
  for (const size_t at : {0ul, 4ul, 16ul, 20ul, key.size() - 1}) {
    std::string wrong = key;
    wrong[at] = '!';
    EXPECT_EQ(KeyIdOf(wrong), "") << at;
  }
  std::string upper = key;
  upper[4] = 'G';
  EXPECT_EQ(KeyIdOf(upper), "");
}

TEST(ApiKey, SecretsAreCutOutOfTexts) {
  const std::string key = *MakeApiKey();
  const std::string shown = key.substr(0, 17) + "...";
  EXPECT_EQ(WithoutKeys(""), "");
  EXPECT_EQ(WithoutKeys("a slk_ b slk_x"), "a slk_ b slk_x");
  EXPECT_EQ(WithoutKeys(key), shown);
  EXPECT_EQ(WithoutKeys("/v2/" + key + "/x " + key + key), "/v2/" + shown + "/x " + shown);
  EXPECT_EQ(WithoutKeys(key.substr(0, 30)), shown) << "a part is a secret, too";
  EXPECT_EQ(WithoutKeys(key.substr(0, 17)), shown);
  EXPECT_EQ(WithoutKeys("slk_slk_" + key), "slk_slk_" + shown);
}

TEST(ApiKey, TheHashIsSha256) {
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(HashOfKey("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_TRUE(SameHash(HashOfKey("abc"), HashOfKey("abc")));
  EXPECT_FALSE(SameHash(HashOfKey("abc"), HashOfKey("abd")));
  EXPECT_FALSE(SameHash("", ""));
  EXPECT_FALSE(SameHash("ba", "ba"));
}

TEST(ApiKey, BothHeadersCarryIt) {
  EXPECT_EQ(KeyOf("Bearer k", ""), "k");
  EXPECT_EQ(KeyOf("bearer   k", ""), "k");
  EXPECT_EQ(KeyOf("BEARER k", "other"), "k") << "Authorization goes first";
  EXPECT_EQ(KeyOf("", "k"), "k");
  EXPECT_EQ(KeyOf("Basic dTpw", ""), "Basic dTpw");
  EXPECT_EQ(KeyOf("Bearer ", ""), "");
  EXPECT_EQ(KeyOf("Bearer", ""), "Bearer");
  EXPECT_EQ(KeyOf("", ""), "");
}

}  // namespace
}  // namespace sightline::serve
