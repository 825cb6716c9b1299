#include "cli/calibrate/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <string>

namespace sightline::cli {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kLongUs = 60'000'000;  // a machine that is busy is no error

std::unique_ptr<ChildProcess> Shell(const std::string& script, std::function<bool()> stop = {}) {
  auto child = ChildProcess::Start({"sh", "-c", script}, std::move(stop));
  EXPECT_TRUE(child.ok()) << child.status();
  return child.ok() ? *std::move(child) : nullptr;
}

TEST(ChildProcess, LinesGoBothWays) {
  const auto child = Shell("while read line; do echo \"heard $line\"; done; exit 3");
  ASSERT_TRUE(child->Write("one\ntwo\n", kLongUs).ok());
  EXPECT_EQ(child->ReadLine(100, kLongUs).value(), "heard one");
  EXPECT_EQ(child->ReadLine(100, kLongUs).value(), "heard two");
  EXPECT_EQ(child->Wait(kLongUs).value(), 3);
}

TEST(ChildProcess, ManyBytesGoThrough) {
  const auto child = Shell("wc -c");
  const std::string bytes(3 << 20, 'x');
  ASSERT_TRUE(child->Write(bytes, kLongUs).ok());
  EXPECT_EQ(child->Wait(kLongUs).value(), 0);  // wc answers at the end of its input: left out
  const auto counts = Shell("head -c 3145728 | wc -c");
  ASSERT_TRUE(counts->Write(bytes, kLongUs).ok());
  EXPECT_THAT(counts->ReadLine(100, kLongUs).value(), HasSubstr("3145728"));
}

TEST(ChildProcess, ItsEndIsToldWithItsLastWords) {
  const auto child = Shell("echo it broke >&2; exit 7");
  const absl::Status status = child->ReadLine(100, kLongUs).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("exit code 7: it broke"));
  const auto killed = Shell("kill -9 $$");
  const absl::Status by_signal = killed->ReadLine(100, kLongUs).status();
  EXPECT_THAT(std::string(MessageOf(by_signal)), HasSubstr("signal 9"));
}

TEST(ChildProcess, WritingToOneThatEndedIsAnError) {
  signal(SIGPIPE, SIG_IGN);  // as the program does
  const auto child = Shell("exec true");
  const std::string bytes(8 << 20, 'x');  // more than a pipe holds
  EXPECT_EQ(child->Write(bytes, kLongUs).code(), absl::StatusCode::kUnavailable);
}

TEST(ChildProcess, AProgramThatIsNotThere) {
  const auto child = ChildProcess::Start({"/nowhere/program"}, {});
  EXPECT_EQ(child.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(MessageOf(child.status())), HasSubstr("/nowhere/program"));
}

TEST(ChildProcess, StopAndTimeEndTheWaiting) {
  std::atomic<bool> stop{false};
  const auto child = Shell("read line", [&stop] { return stop.load(); });
  EXPECT_EQ(child->ReadLine(100, 1).status().code(), absl::StatusCode::kDeadlineExceeded);
  stop = true;
  EXPECT_EQ(child->ReadLine(100, kLongUs).status().code(), absl::StatusCode::kCancelled);
}

TEST(ChildProcess, AnEndlessLineIsAnError) {
  const auto child = Shell("yes | tr -d '\\n'");
  EXPECT_EQ(child->ReadLine(1000, kLongUs).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(ChildProcess, ItsGroupIsKilledWithIt) {
  pid_t grandchild = 0;
  {
    const auto child = Shell("sleep 1000 & echo $!; wait");
    grandchild = std::stoi(child->ReadLine(100, kLongUs).value());
    ASSERT_EQ(kill(grandchild, 0), 0);
  }
  // Dead, or a zombie that nobody has waited for yet: it cannot be anything else after SIGKILL.
  std::string state = "gone";
  const std::string path = "/proc/" + std::to_string(grandchild) + "/stat";
  for (int look = 0; look < 1000; ++look) {
    FILE* const file = fopen(path.c_str(), "r");
    if (file == nullptr) break;
    char letter = 0;
    const int got = fscanf(file, "%*d %*s %c", &letter);
    fclose(file);
    state = std::string(1, letter);
    if (got == 1 && letter == 'Z') break;
    sched_yield();
  }
  EXPECT_TRUE(kill(grandchild, 0) != 0 || state == "Z") << state;
}

}  // namespace
}  // namespace sightline::cli
