#include "serve/inference/request_traces.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/thread.h"

namespace sightline::serve {
namespace {

constexpr int kMostFiles = 10'000;

// Makes a file that nobody has, by that name or with a number behind it.
absl::StatusOr<std::string> MakeFile(const std::string& wanted) {
  for (int number = 0; number < kMostFiles; ++number) {
    const std::string file = number == 0 ? wanted : fmt::format("{}.{}", wanted, number);
    const int descriptor = open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor >= 0) {
      close(descriptor);
      return file;
    }
    if (errno != EEXIST) {
      return InvalidArgument("traces cannot be written to {}: {}", file, std::strerror(errno));
    }
  }
  return InvalidArgument("there are {} files of traces beside {}: clear them away", kMostFiles,
                         wanted);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RequestTraces>> RequestTraces::Open(const std::string& file) {
  SL_ASSIGN_OR_RETURN(std::string made, MakeFile(file));
  std::ofstream to(made, std::ios::binary);
  if (!to) return InvalidArgument("traces cannot be written to {}", made);
  std::unique_ptr<RequestTraces> traces(new RequestTraces(std::move(made), std::move(to)));
  SL_ASSIGN_OR_RETURN(traces->thread_,
                      StartThread("traces", [raw = traces.get()] { raw->Loop(); }));
  return traces;
}

RequestTraces::~RequestTraces() {
  queue_.Close();
  if (thread_.joinable()) thread_.join();
}

void RequestTraces::Write(const std::string& model, const std::string& version,
                          const CallTimes& times, int64_t ended_us) {
  const uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
  // Names of models need no escapes (CheckModelName), and versions are whole numbers.
  std::string text =
      fmt::format(R"({{"id":{},"model_name":"{}","model_version":{}}},{{"id":{},"timestamps":[)",
                  id, model, version, id);
  const std::pair<const char*, int64_t> stamps[] = {{"REQUEST_START", times.received_us},
                                                    {"QUEUE_START", times.received_us},
                                                    {"COMPUTE_START", times.began_us},
                                                    {"COMPUTE_INPUT_END", times.filled_us},
                                                    {"COMPUTE_OUTPUT_START", times.ran_us},
                                                    {"COMPUTE_END", times.emptied_us},
                                                    {"REQUEST_END", ended_us}};
  const char* comma = "";
  for (const auto& [name, at_us] : stamps) {
    if (at_us == 0) continue;
    text +=
        fmt::format(R"({}{{"name":"{}","ns":{}}})", std::exchange(comma, ","), name, at_us * 1000);
  }
  text += "]}";
  if (!queue_.TryPush(std::move(text))) left_out_.fetch_add(1, std::memory_order_relaxed);
}

void RequestTraces::Loop() {
  bool first = true, failed = false;
  to_ << "[";
  while (std::optional<std::string> text = queue_.Pop()) {
    to_ << (std::exchange(first, false) ? "\n" : ",\n") << *text;
    if (queue_.Stats().depth == 0) to_.flush();
    if (!to_ && !std::exchange(failed, true)) {
      Log().error("traces can no longer be written to {}: {}", file_, std::strerror(errno));
    }
  }
  to_ << "\n]\n";
}

}  // namespace sightline::serve
