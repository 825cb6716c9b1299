#include "base/output_wait.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace sightline {
namespace {

TEST(OutputWait, TriesAgainUntilItCanBeWritten) {
  OutputWait wait;
  int attempts = 0;
  std::string seen;
  const absl::Status status = wait.Until([&]() -> absl::Status {
    seen = wait.reason();
    if (++attempts < 3)
      return attempts == 1 ? ResourceExhausted("disk full") : Unavailable("locked");
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
  const absl::Status status =
      wait.Until([&] { return ++attempts, FailedPrecondition("no permission"); });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(attempts, 1);
}

TEST(OutputWait, WhatFailsOtherwiseWhileItWaitsIsTheError) {
  OutputWait wait;
  int attempts = 0;
  const absl::Status status = wait.Until(
      [&] { return ++attempts == 1 ? ResourceExhausted("disk full") : DataLoss("damaged"); });
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(wait.reason(), "");
}

TEST(OutputWait, NobodyWaitsWhenTheRunEnds) {
  OutputWait wait;
  std::thread end([&] {
    while (wait.reason().empty()) std::this_thread::yield();
    wait.End();
  });
  int attempts = 0;
  const auto full = [&] { return ++attempts, ResourceExhausted("disk full"); };
  EXPECT_EQ(wait.Until(full).code(), absl::StatusCode::kResourceExhausted);
  end.join();
  attempts = 0;
  EXPECT_EQ(wait.Until(full).code(), absl::StatusCode::kResourceExhausted);  // and now at once
  EXPECT_EQ(attempts, 1);
}

TEST(OutputWait, WhoWaitsTriesOnceMoreWhenTheRunEnds) {
  OutputWait wait;
  std::atomic<bool> room{false};
  std::thread end([&] {
    while (wait.reason().empty()) std::this_thread::yield();
    room = true;
    wait.End();
  });
  const absl::Status status =
      wait.Until([&] { return room ? absl::OkStatus() : ResourceExhausted("disk full"); });
  EXPECT_TRUE(status.ok()) << status;
  end.join();
}

TEST(OutputWait, NobodyWaitsUnlessItIsEnabled) {
  OutputWait wait;
  wait.Enable(false);
  int attempts = 0;
  EXPECT_FALSE(wait.Until([&] { return ++attempts, ResourceExhausted("disk full"); }).ok());
  EXPECT_EQ(attempts, 1);
}

}  // namespace
}  // namespace sightline
