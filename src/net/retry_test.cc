#include "net/retry.h"

#include <gtest/gtest.h>

#include "net/cancel_signal.h"

namespace sightline::net {
namespace {

TEST(Retry, WaitsDoubleAndEnd) {
  const RetryPolicy policy{.first_wait_us = 1000, .longest_wait_us = 5000};
  EXPECT_EQ(RetryWaitUs(policy, 2, {}, 1.0), 1000);
  EXPECT_EQ(RetryWaitUs(policy, 3, {}, 1.0), 2000);
  EXPECT_EQ(RetryWaitUs(policy, 4, {}, 1.0), 4000);
  EXPECT_EQ(RetryWaitUs(policy, 5, {}, 1.0), 5000);
  EXPECT_EQ(RetryWaitUs(policy, 1'000'000, {}, 1.0), 5000);
  EXPECT_EQ(RetryWaitUs(policy, 4, {}, 0.0), 2000) << "spread over the upper half";
  EXPECT_EQ(RetryWaitUs(policy, 4, {}, 0.5), 3000);
  EXPECT_EQ(RetryWaitUs({.first_wait_us = -5, .longest_wait_us = -5}, 3, {}, 1.0), 0);
}

TEST(Retry, TheServersWishGoesFirst) {
  const RetryPolicy policy{.first_wait_us = 1000, .longest_wait_us = 5000};
  EXPECT_EQ(RetryWaitUs(policy, 2, 7'000'000, 1.0), 7'000'000);
  EXPECT_EQ(RetryWaitUs(policy, 2, 0, 1.0), 0);
  EXPECT_EQ(RetryWaitUs(policy, 2, -1, 1.0), 0);
}

TEST(Retry, StatusesThatMayPass) {
  for (const int status : {408, 425, 429, 500, 502, 503, 504, 529}) EXPECT_TRUE(MayPass(status));
  for (const int status : {100, 200, 301, 400, 401, 403, 404, 413, 422, 501}) {
    EXPECT_FALSE(MayPass(status));
  }
}

TEST(CancelSignal, WakesEachListenerOnce) {
  CancelSignal signal;
  int before = 0;
  int gone = 0;
  int after = 0;
  const CancelSignal::Listener first(&signal, [&] { ++before; });
  {
    const CancelSignal::Listener second(&signal, [&] { ++gone; });
  }
  EXPECT_FALSE(signal.cancelled());
  EXPECT_FALSE(signal.WaitFor(1));
  signal.Cancel();
  signal.Cancel();
  const CancelSignal::Listener third(&signal, [&] { ++after; });
  EXPECT_TRUE(signal.cancelled());
  EXPECT_TRUE(signal.WaitFor(60'000'000));
  EXPECT_EQ(before, 1);
  EXPECT_EQ(gone, 0);
  EXPECT_EQ(after, 1);
  const CancelSignal::Listener none(nullptr, [&] { ++after; });
}

}  // namespace
}  // namespace sightline::net
