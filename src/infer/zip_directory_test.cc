#include "infer/zip_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/whole_file.h"
#include "infer/test_zip_archive.h"

namespace sightline {
namespace {

using test::ZipArchive;
using test::ZipPart;
using ::testing::HasSubstr;

absl::StatusOr<std::vector<ZipEntry>> Read(const std::string& bytes) {
  return ReadZipDirectory(ReadFrom(AsBytes(bytes)), bytes.size(), "a.zip");
}

TEST(ZipDirectory, NamesWhatIsIn) {
  const std::string archive = ZipArchive({{.name = "a/one", .bytes = "1"},
                                          {.name = "a/two", .bytes = "22", .method = 8},
                                          {.name = "a/none"}});
  const auto entries = Read(archive);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0].name, "a/one");
  EXPECT_EQ((*entries)[1].bytes, 2u);
  EXPECT_EQ((*entries)[1].method, 8);
  const ReadBytesAt read = ReadFrom(AsBytes(archive));
  EXPECT_EQ(*ReadStoredEntry(read, (*entries)[0], 1), "1");
  EXPECT_EQ(*ReadStoredEntry(read, (*entries)[2], 1), "");
  EXPECT_EQ(ReadStoredEntry(read, (*entries)[1], 9).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadStoredEntry(read, (*entries)[0], 0).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(ZipDirectory, WhatReadersReadDifferentlyIsRefused) {
  const std::vector<ZipPart> parts = {{.name = "a", .bytes = "1"}};
  std::string archive = ZipArchive(parts);
  EXPECT_TRUE(Read(archive).ok());
  // A comment, which may be a second archive's end.
  EXPECT_FALSE(Read(archive + "hello").ok());
  std::string commented = archive;
  commented[archive.size() - 2] = 5;
  EXPECT_FALSE(Read(commented + "hello").ok());
  commented[archive.size() - 2] = 22;
  EXPECT_FALSE(Read(commented + archive.substr(archive.size() - 22)).ok());
  // A second signature within the record.
  std::string twice = archive;
  twice.replace(archive.size() - 6, 4, "PK\5\6");
  EXPECT_EQ(Read(twice).status().code(), absl::StatusCode::kDataLoss);
  // Something between the directory and its end: readers may take it for bytes in front.
  std::string apart = archive;
  apart.insert(archive.size() - 22, "between");
  EXPECT_EQ(Read(apart).status().code(), absl::StatusCode::kDataLoss);
}

TEST(ZipDirectory, BothRecordsOfTheEndSayTheSame) {
  const std::vector<ZipPart> parts = {{.name = "a", .bytes = "1"}, {.name = "b"}};
  const auto entries = Read(ZipArchive(parts, test::Zip64Lies{}));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ(entries->size(), 2u);
  for (const test::Zip64Lies& lies :
       {test::Zip64Lies{.count = 1}, test::Zip64Lies{.bytes = -1}, test::Zip64Lies{.at = 1},
        test::Zip64Lies{.record_at = -1}, test::Zip64Lies{.record_at = 1 << 30},
        test::Zip64Lies{.record_at = 20}}) {
    EXPECT_EQ(Read(ZipArchive(parts, lies)).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(ZipDirectory, TooManyEntriesAreRefused) {
  std::string archive = ZipArchive({{.name = "a"}});
  archive[archive.size() - 12] = archive[archive.size() - 11] = '\xff';
  const auto many = Read(archive);
  EXPECT_EQ(many.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(many.status().message()), HasSubstr("65535 entries"));
}

TEST(ZipDirectory, WhatIsNoArchiveOrCutShortIsRefused) {
  EXPECT_EQ(Read("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Read("no archive, but long enough to be one").status().code(),
            absl::StatusCode::kInvalidArgument);
  const std::string archive = ZipArchive({{.name = "a", .bytes = "some bytes"}});
  for (size_t kept = 0; kept < archive.size(); ++kept) {
    EXPECT_FALSE(Read(archive.substr(0, kept)).ok()) << kept;
  }
  // The front is gone: nothing is where the directory says.
  EXPECT_FALSE(Read(archive.substr(4)).ok());
}

TEST(ZipDirectory, EntriesBeyondTheFileAreRefused) {
  const auto far = Read(ZipArchive({{.name = "a", .bytes = "1", .says_packed = 0x7fffffff}}));
  EXPECT_EQ(far.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(far.status().message()), HasSubstr("a.zip"));
  // Says to be long once it is unpacked: to be refused where it is read.
  const std::string archive = ZipArchive({{.name = "a", .bytes = "1", .says_bytes = 0x7fffffff}});
  const auto entries = Read(archive);
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_FALSE(ReadStoredEntry(ReadFrom(AsBytes(archive)), (*entries)[0], 1 << 20).ok());
}

TEST(ZipDirectory, AnyChangedBytesAreReadOrRefused) {
  const std::string whole = ZipArchive({{.name = "m/code/x.py", .bytes = "def forward"},
                                        {.name = "m/constants.pkl", .bytes = "1234"}});
  std::mt19937 random(7);
  size_t refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = whole;
    for (int change = 0; change < 3; ++change) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const auto entries = Read(bytes);
    refused += !entries.ok();
    if (!entries.ok()) continue;
    for (const ZipEntry& entry : *entries) {
      (void)ReadStoredEntry(ReadFrom(AsBytes(bytes)), entry, 1 << 20);
    }
  }
  EXPECT_GT(refused, 100u);
  EXPECT_LT(refused, 19'900u);
}

}  // namespace
}  // namespace sightline
