#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "base/bounded_queue.h"
#include "base/nearest_word.h"
#include "base/object_pool.h"
#include "base/redact.h"
#include "base/status.h"
#include "base/thread.h"
#include "base/time.h"
#include "base/uuid.h"
#include "base/whole_file.h"

namespace sightline {
namespace {

TEST(Status, ContextStandsInFront) {
  const absl::Status status = WithContext(NotFound("no file {}", "a.mp4"), "camera door");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(MessageOf(status), "camera door: no file a.mp4");
  EXPECT_TRUE(WithContext(absl::OkStatus(), "x").ok());
}

TEST(WholeFile, FilesInSharedMemoryAreReplacedWhole) {
  const std::string path = fmt::format("/dev/shm/sightline-base-test-{}", getpid());
  if (!WriteWholeFile(path, "long").ok()) GTEST_SKIP() << "nothing can be written to /dev/shm";
  EXPECT_TRUE(WriteWholeFile(path, "new").ok());
  const auto content = ReadWholeFile(path, 100);
  unlink(path.c_str());
  EXPECT_EQ(*content, "new");
}

TEST(Time, UtcRoundTrip) {
  const auto us = ParseUtc("2026-01-31T12:34:56.789012Z");
  ASSERT_TRUE(us.ok());
  EXPECT_EQ(FormatUtc(*us), "2026-01-31T12:34:56.789012Z");
  EXPECT_EQ(*ParseUtc("1970-01-01T02:00:01+02:00"), 1'000'000);
  EXPECT_FALSE(ParseUtc("yesterday").ok());
}

TEST(Time, Durations) {
  EXPECT_EQ(*ParseDurationUs("250ms"), 250'000);
  EXPECT_EQ(*ParseDurationUs("1.5s"), 1'500'000);
  EXPECT_EQ(*ParseDurationUs("2h"), 7'200'000'000);
  for (const char* bad : {"", "s", "-1s", "10", "1 s", "1e300s", "nans", "infs"}) {
    EXPECT_FALSE(ParseDurationUs(bad).ok()) << bad;
  }
}

TEST(Uuid, VersionVariantTimeAndDeterminism) {
  const Hash128 hash = FieldHasher().Add("camera").Add(7).Finish();
  const Uuid a = MakeTimeUuid(1'700'000'000'123'456, hash);
  EXPECT_EQ(a, MakeTimeUuid(1'700'000'000'123'999, hash));
  EXPECT_NE(a, MakeTimeUuid(1'700'000'000'123'456, FieldHasher().Add("camera").Add(8).Finish()));
  const std::string text = ToString(a);
  EXPECT_EQ(text.substr(0, 13), "018bcfe5-687b");
  EXPECT_EQ(text[14], '8');
  EXPECT_NE(std::string("89ab").find(text[19]), std::string::npos);
}

TEST(Uuid, StringsCarryTheirLength) {
  EXPECT_NE(FieldHasher().Add("ab").Add("c").Finish(), FieldHasher().Add("a").Add("bc").Finish());
}

TEST(NearestWord, FindsSwapsAndRefusesStrangers) {
  constexpr std::string_view kKnown[] = {"zones", "lines", "source"};
  EXPECT_EQ(NearestWord("zoens", kKnown), "zones");
  EXPECT_EQ(NearestWord("Source", kKnown), "source");
  EXPECT_EQ(NearestWord("quantum", kKnown), "");
}

TEST(Redact, HidesLongerSecretsFirstAndLeavesTheRest) {
  EXPECT_EQ(WithoutSecrets("nothing is hidden: rtsp://u:tellnobody@h/1"),
            "nothing is hidden: rtsp://u:tellnobody@h/1");
  HideSecret("tellnobody", "${env:PASSWORD}");
  HideSecret("rtsp://u:tellnobody@h/1", "rtsp://u:***@h/1");
  HideSecret("abc", "***");  // too short
  HideSecret("as it is", "as it is");
  EXPECT_EQ(WithoutSecrets("rtsp://u:tellnobody@h/1: 401 for tellnobody, tellnobody; abc"),
            "rtsp://u:***@h/1: 401 for ${env:PASSWORD}, ${env:PASSWORD}; abc");
  // A replacement that holds the secret is not searched again.
  HideSecret("loop", "loop loop");
  EXPECT_EQ(WithoutSecrets("a loop"), "a loop loop");
}

TEST(BoundedQueue, DropOldestHandsTheDroppedItemBack) {
  BoundedQueue<int> queue(2, QueuePolicy::kDropOldest);
  std::optional<int> dropped;
  queue.Push(1);
  queue.Push(2);
  EXPECT_EQ(queue.Push(3, &dropped), BoundedQueue<int>::PushResult::kPushedAndDropped);
  EXPECT_EQ(dropped, 1);
  EXPECT_EQ(queue.Pop(), 2);
  queue.Close();
  EXPECT_EQ(queue.Pop(), 3);
  EXPECT_EQ(queue.Pop(), std::nullopt);
  EXPECT_EQ(queue.Push(4), BoundedQueue<int>::PushResult::kClosed);
  EXPECT_EQ(queue.Stats().dropped, 2u);
}

TEST(BoundedQueue, BlockingKeepsEveryItemInOrder) {
  BoundedQueue<int> queue(3, QueuePolicy::kBlock);
  constexpr int kItems = 10'000;
  std::thread producer([&] {
    for (int i = 0; i < kItems; ++i) queue.Push(int{i});
    queue.Close();
  });
  int expected = 0;
  while (auto item = queue.Pop()) EXPECT_EQ(*item, expected++);
  producer.join();
  EXPECT_EQ(expected, kItems);
  EXPECT_LE(queue.Stats().max_depth, 3u);
}

TEST(ObjectPool, RecyclesAndOutlivesItsHandle) {
  std::shared_ptr<int> survivor;
  {
    ObjectPool<int> pool;
    int* first = pool.Acquire().get();
    survivor = pool.Acquire();
    EXPECT_EQ(survivor.get(), first);
    EXPECT_EQ(pool.created(), 1u);
  }
  *survivor = 5;
  EXPECT_EQ(*survivor, 5);
}

TEST(ObjectPool, TellsTheObjectThatItCameBack) {
  struct Holder {
    void OnReturn() { held.reset(); }
    std::shared_ptr<int> held;
  };
  ObjectPool<Holder> pool;
  const auto value = std::make_shared<int>(1);
  pool.Acquire()->held = value;
  EXPECT_EQ(value.use_count(), 1);
  EXPECT_EQ(pool.created(), 1u);
}

TEST(Thread, NamesAreShortAndPlain) {
  EXPECT_EQ(ShownThreadName("read-door"), "read-door");
  EXPECT_EQ(ShownThreadName("batch-truth?miss=0.1"), "batch-truth_mis");
  EXPECT_EQ(ShownThreadName("a\nb \xC3\xA4"), "a_b___");
  std::string name(32, '\0');
  auto thread = StartThread("batch-a?b/c d",
                            [&] { pthread_getname_np(pthread_self(), name.data(), name.size()); });
  ASSERT_TRUE(thread.ok());
  thread->join();
  EXPECT_STREQ(name.c_str(), "batch-a_b_c_d");
}

}  // namespace
}  // namespace sightline
