#include "base/output_wait.h"

#include <gtest/gtest.h>

#include <thread>

namespace sightline {
namespace {

TEST(OutputWait, TriesAgainUntilItCanBeWritten) {
  OutputWait wait;
  int attempts = 0;
  std::string seen;
  const absl::Status status = wait.Until([&]() -> absl::Status {
    seen = wait.reason();
    if (++attempts < 3) return attempts == 1 ? ResourceExhausted("disk full") : Unavailable("locked");
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(attempts, 3);
  EXPECT_EQ(seen, "locked");
  EXPECT_EQ(wait.reason(), "");
}

TEST(OutputWait, WhatDoesNotPassIsAnErrorAtOnce) {
  OutputWait wait;
  int attempts = 0;
  const absl::Status status = wait.Until([&] { return ++attempts, FailedPrecondition("no permission"); });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(attempts, 1);
}

TEST(OutputWait, WhatFailsOtherwiseWhileItWaitsIsTheError) {
  OutputWait wait;
  int attempts = 0;
  const absl::Status status =
      wait.Until([&] { return ++attempts == 1 ? ResourceExhausted("disk full") : DataLoss("damaged"); });
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(wait.reason(), "");
}

TEST(OutputWait, NobodyWaitsWhenTheRunEnds) {
  OutputWait wait;
  std::thread end([&] {
    while (wait.reason().empty()) std::this_thread::yield();
    wait.End();
  });
  const auto full = [] { return ResourceExhausted("disk full"); };
  EXPECT_EQ(wait.Until(full).code(), absl::StatusCode::kResourceExhausted);
  end.join();
  EXPECT_EQ(wait.Until(full).code(), absl::StatusCode::kResourceExhausted);  // and now at once
}

}  // namespace
}  // namespace sightline
