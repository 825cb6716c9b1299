// Errors as values: absl::Status with a sentence for people, and context added on the way up.
//
// Sentences say what happened, where, and what to do. Debian's Abseil (20220623) has a string_view
// of its own, so the one conversion between the two stands here: build statuses with the functions
// below and read them with MessageOf().
//
// Threads: everything here is reentrant. Cost: one allocation per error, none when OK.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sightline {

// A status with a formatted message: MakeError(absl::StatusCode::kNotFound, "no file {}", path).
template <typename... Args>
absl::Status MakeError(absl::StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return absl::Status(code, fmt::format(format, std::forward<Args>(args)...));
}

#define SIGHTLINE_DEFINE_ERROR(Name)                                                  \
  template <typename... Args>                                                         \
  absl::Status Name(fmt::format_string<Args...> format, Args&&... args) {             \
    return MakeError(absl::StatusCode::k##Name, format, std::forward<Args>(args)...); \
  }
SIGHTLINE_DEFINE_ERROR(InvalidArgument)     // the caller's input is wrong: fix it and try again
SIGHTLINE_DEFINE_ERROR(NotFound)            // a file, model, camera or key that is not there
SIGHTLINE_DEFINE_ERROR(FailedPrecondition)  // the system is not in the state this needs
SIGHTLINE_DEFINE_ERROR(Unavailable)         // may go away by itself: worth a retry
SIGHTLINE_DEFINE_ERROR(ResourceExhausted)   // disk, memory, quota
SIGHTLINE_DEFINE_ERROR(DataLoss)            // corrupt or truncated bytes
SIGHTLINE_DEFINE_ERROR(Unimplemented)       // a known thing that this build does not do
SIGHTLINE_DEFINE_ERROR(Internal)            // our own bug
SIGHTLINE_DEFINE_ERROR(Unauthenticated)     // wrong or missing credentials
SIGHTLINE_DEFINE_ERROR(PermissionDenied)    // known, and not allowed
SIGHTLINE_DEFINE_ERROR(DeadlineExceeded)    // it took too long
SIGHTLINE_DEFINE_ERROR(Cancelled)           // asked to stop
#undef SIGHTLINE_DEFINE_ERROR

// The sentence of a status as a std::string_view; empty when OK. Valid as long as `status` lives.
inline std::string_view MessageOf(const absl::Status& status) {
  const absl::string_view message = status.message();
  return {message.data(), message.size()};
}

// The same error with "context: " in front; OK stays OK.
inline absl::Status WithContext(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), fmt::format("{}: {}", context, MessageOf(status)));
}

}  // namespace sightline

#define SL_CONCAT_INNER(a, b) a##b
#define SL_CONCAT(a, b) SL_CONCAT_INNER(a, b)

// Returns the error of an expression that yields absl::Status, or goes on.
#define SL_RETURN_IF_ERROR(expression)     \
  do {                                     \
    absl::Status sl_status = (expression); \
    if (!sl_status.ok()) return sl_status; \
  } while (false)

// SL_ASSIGN_OR_RETURN(auto value, FunctionThatReturnsStatusOr());
#define SL_ASSIGN_OR_RETURN(declaration, expression) \
  SL_ASSIGN_OR_RETURN_IMPL(SL_CONCAT(sl_statusor_, __LINE__), declaration, expression)
#define SL_ASSIGN_OR_RETURN_IMPL(statusor, declaration, expression) \
  auto statusor = (expression);                                     \
  if (!statusor.ok()) return std::move(statusor).status();          \
  declaration = std::move(statusor).value()
