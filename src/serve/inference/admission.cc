#include "serve/inference/admission.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

#include "absl/strings/cord.h"

namespace sightline::serve {
namespace {

constexpr const char* kRetryAfter = "sightline/retry_after_us";

size_t Level(int priority) { return static_cast<size_t>(std::clamp(priority, 1, kPriorityLevels)); }

}  // namespace

void Admission::Accepted(int priority, int64_t rows, int64_t now_us) {
  const MutexLock lock(mutex_);
  rows_[Level(priority)] += rows;
  if (++requests_ >= instances_ && !busy_) {
    busy_ = true;
    counted_us_ = now_us;
  }
}

void Admission::Answered(int priority, int64_t rows, int64_t batch_us, int64_t now_us) {
  constexpr double kNewest = 0.1;  // of the average; chosen
  const MutexLock lock(mutex_);
  if (batch_us > 0) {
    const auto newest_us = static_cast<double>(batch_us);
    batch_us_ += batch_us_ > 0 ? kNewest * (newest_us - batch_us_) : newest_us;
  }
  End(priority, rows, rows, now_us);
}

void Admission::NotBegun(int priority, int64_t rows, int64_t now_us) {
  const MutexLock lock(mutex_);
  End(priority, rows, /*rows_done=*/0, now_us);
}

void Admission::End(int priority, int64_t rows, int64_t rows_done, int64_t now_us) {
  rows_[Level(priority)] -= rows;
  --requests_;
  if (busy_) {
    busy_us_ += static_cast<double>(std::max<int64_t>(0, now_us - counted_us_));
    busy_rows_ += static_cast<double>(rows_done);
    counted_us_ = now_us;
    if (busy_us_ > 2 * kWindowUs) {
      busy_rows_ *= kWindowUs / busy_us_;
      busy_us_ = kWindowUs;
    }
  }
  busy_ = requests_ >= instances_;
}

void Admission::Refused(int64_t now_us, bool by_overload, uint64_t requests) {
  const MutexLock lock(mutex_);
  refused_ += requests;
  if (by_overload && now_us < overloaded_until_us_) overloaded_until_us_ = now_us + kCalmUs;
}

bool Admission::Overflowed(int64_t now_us) {
  const MutexLock lock(mutex_);
  if (batch_us_ <= 0) return false;
  const bool begins = now_us >= overloaded_until_us_;
  overloaded_until_us_ = now_us + kCalmUs;
  return begins;
}

bool Admission::IsOverloaded(int64_t now_us) const {
  const MutexLock lock(mutex_);
  return now_us < overloaded_until_us_;
}

int64_t Admission::OverloadWaitUs() const {
  const MutexLock lock(mutex_);
  return std::max(kLeastOverloadWaitUs, static_cast<int64_t>(kOverloadBatches * batch_us_));
}

void Admission::Reserve(int64_t now_us) {
  const MutexLock lock(mutex_);
  reserved_us_.push_back(now_us);
}

void Admission::Redeem() {
  const MutexLock lock(mutex_);
  if (!reserved_us_.empty()) reserved_us_.pop_front();
}

int64_t Admission::ExpectedWaitUs(int priority, int64_t now_us) {
  const MutexLock lock(mutex_);
  while (!reserved_us_.empty() && reserved_us_.front() <= now_us - kReservedUs) {
    reserved_us_.pop_front();
  }
  const auto reserved = static_cast<int64_t>(reserved_us_.size());
  if (requests_ + reserved < instances_ || busy_us_ <= 0 || busy_rows_ <= 0) return 0;
  int64_t ahead = reserved;
  for (size_t level = 1; level <= Level(priority); ++level) ahead += rows_[level];
  return static_cast<int64_t>(static_cast<double>(ahead) * busy_us_ / busy_rows_);
}

uint64_t Admission::refused() const {
  const MutexLock lock(mutex_);
  return refused_;
}

absl::Status WithRetryAfter(absl::Status status, int64_t after_us) {
  status.SetPayload(kRetryAfter, absl::Cord(std::to_string(std::max<int64_t>(1, after_us))));
  return status;
}

absl::Status Overloaded(std::string_view model, int64_t expected_us, int64_t limit_us) {
  return WithRetryAfter(
      ResourceExhausted(
          "a request for model '{}' would wait for {} ms, and may for {} ms; try again later",
          model, expected_us / 1000, limit_us / 1000),
      expected_us - limit_us);
}

int64_t RetryAfterUsOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryAfter);
  if (!payload) return 0;
  const std::string text(*payload);
  int64_t us = 0;
  std::from_chars(text.data(), text.data() + text.size(), us);
  return us;
}

}  // namespace sightline::serve
