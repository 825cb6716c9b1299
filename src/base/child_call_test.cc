#include "base/child_call.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

namespace sightline {
namespace {

using testing::HasSubstr;

TEST(CallInChild, GivesBackWhatTheWorkSays) {
  int here = 0;
  EXPECT_TRUE(CallInChild([&] {
                here = 1;
                return absl::OkStatus();
              }).status.ok());
  EXPECT_EQ(here, 0) << "the child's memory is its own";
  const ChildAnswer answer = CallInChild([] { return NotFound("no {}", "luck"); });
  EXPECT_EQ(answer.status, NotFound("no luck"));
  EXPECT_FALSE(answer.died);
  const std::string endless(1'000'000, 'x');
  EXPECT_EQ(CallInChild([&] { return Internal("{}", endless); }).status.message().size(), 60'000u);
}

TEST(CallInChild, ACrashIsAnError) {
  const ChildAnswer crashed = CallInChild([] {
    signal(SIGKILL, SIG_DFL);
    kill(getpid(), SIGKILL);
    return absl::OkStatus();
  });
  EXPECT_EQ(crashed.status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(crashed.status.message(), HasSubstr("Killed"));
  EXPECT_TRUE(crashed.died);
  const ChildAnswer left = CallInChild([]() -> absl::Status { _exit(3); });
  EXPECT_THAT(left.status.message(), HasSubstr("exit code 3"));
}

TEST(CallInChild, AnEndlessLoopEnds) {
  const ChildAnswer answer = CallInChild(
      []() -> absl::Status {
        while (true) pause();
      },
      {.wall_ms = 50});
  EXPECT_TRUE(answer.died);
  EXPECT_EQ(answer.status.code(), absl::StatusCode::kDeadlineExceeded);
}

// The descriptors of pipes behind the standard streams.
template <typename Do>
void WithEachPipe(const Do& act) {
  for (int fd = 3; fd < 64; ++fd) {
    struct stat its {};
    if (fstat(fd, &its) == 0 && S_ISFIFO(its.st_mode)) act(fd);
  }
}

TEST(CallInChild, OneThatClosesItsEndAndNeverEndsIsKilled) {
  const ChildAnswer answer = CallInChild(
      []() -> absl::Status {
        WithEachPipe([](int fd) { close(fd); });
        while (true) pause();
      },
      {.wall_ms = 50});
  EXPECT_TRUE(answer.died);
  EXPECT_EQ(answer.status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(CallInChild, OneThatSaysMoreThanAnAnswerIsNotHeard) {
  const ChildAnswer answer = CallInChild([]() -> absl::Status {
    signal(SIGPIPE, SIG_IGN);
    const std::string words(1 << 16, static_cast<char>(absl::StatusCode::kInternal));
    while (true) {
      WithEachPipe([&](int fd) {
        if (fcntl(fd, F_GETFL) & O_WRONLY) (void)!write(fd, words.data(), words.size());
      });
    }
  });
  EXPECT_EQ(answer.status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(answer.status.message().size(), 60'000u);
}

TEST(CallInChild, SignalsFromOutsideCancel) {
  for (const int number : {SIGINT, SIGTERM}) {
    const ChildAnswer answer = CallInChild([number] {
      signal(number, SIG_DFL);
      kill(getpid(), number);
      return absl::OkStatus();
    });
    EXPECT_EQ(answer.status.code(), absl::StatusCode::kCancelled) << answer.status;
    EXPECT_TRUE(answer.died);
  }
}

TEST(CallInChild, MemoryIsBounded) {
  const auto [status, died] = CallInChild(
      [] {
        rlimit limit{};
        getrlimit(RLIMIT_AS, &limit);
        if (limit.rlim_cur == RLIM_INFINITY) return Unimplemented("no limit under sanitizers");
        const std::vector<char> much(size_t{512} << 20);
        return Internal("there was room for {}", much.size());
      },
      {.memory_bytes = 64 << 20});
  if (status.code() == absl::StatusCode::kUnimplemented) GTEST_SKIP() << status;
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(status.message(), HasSubstr("64 MiB"));
}

// What this program does when CallThisProgram() begins it anew.
TEST(BegunAnew, DISABLED_Answers) { AnswerParent(NotFound("no {}", "luck")); }
TEST(BegunAnew, DISABLED_IsContent) { AnswerParent(absl::OkStatus()); }
TEST(BegunAnew, DISABLED_Crashes) {
  signal(SIGKILL, SIG_DFL);
  kill(getpid(), SIGKILL);
}
TEST(BegunAnew, DISABLED_NeverEnds) {
  while (true) pause();
}

ChildAnswer BeginAnew(const std::string& test, const ChildLimits& limits = {}) {
  return CallThisProgram({"--gtest_also_run_disabled_tests", "--gtest_brief=1",
                          "--gtest_filter=BegunAnew.DISABLED_" + test},
                         limits);
}

TEST(CallThisProgram, GivesBackWhatItSays) {
  const ChildAnswer answer = BeginAnew("Answers");
  EXPECT_EQ(answer.status, NotFound("no luck"));
  EXPECT_FALSE(answer.died);
  EXPECT_TRUE(BeginAnew("IsContent").status.ok());
  const ChildAnswer crashed = BeginAnew("Crashes");
  EXPECT_TRUE(crashed.died);
  EXPECT_EQ(crashed.status.code(), absl::StatusCode::kDataLoss);
  const ChildAnswer endless = BeginAnew("NeverEnds", {.wall_ms = 500});
  EXPECT_TRUE(endless.died);
  EXPECT_EQ(endless.status.code(), absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace sightline
