#include "serve/access/trace_context.h"

#include <charconv>
#include <random>
#include <set>

namespace sightline::serve {
namespace {

bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool IsZero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

bool IsLowerOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// simple-key or tenant@system.
bool IsStateKey(std::string_view key) {
  if (key.empty() || key.size() > 256) return false;
  const size_t at = key.find('@');
  if (at != std::string_view::npos) {
    const std::string_view system = key.substr(at + 1);
    if (at == 0 || at > 241 || system.empty() || system.size() > 14) return false;
    if (system[0] < 'a' || system[0] > 'z') return false;
    if (system.find('@') != std::string_view::npos || !IsLowerOrDigit(key[0])) return false;
  } else if (key[0] < 'a' || key[0] > 'z') {
    return false;
  }
  for (const char c : key) {
    if (!IsLowerOrDigit(c) && std::string_view("_-*/@").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

bool IsStateValue(std::string_view value) {
  if (value.empty() || value.size() > 256 || value.back() == ' ') return false;
  for (const char c : value) {
    if (c < 0x20 || c > 0x7E || c == ',' || c == '=') return false;
  }
  return true;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string RandomHex() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device system;
    std::seed_seq seed{system(), system(), system(), system(), system(), system()};
    return std::mt19937_64(seed);
  }();
  uint64_t value = 0;
  while (value == 0) value = generator();
  std::string text(16, '0');
  for (size_t i = 0; i < 16; ++i) text[i] = "0123456789abcdef"[(value >> (60 - 4 * i)) & 15];
  return text;
}

}  // namespace

std::optional<TraceParent> ParseTraceparent(std::string_view text) {
  // 2 + 1 + 32 + 1 + 16 + 1 + 2
  constexpr size_t kSize = 55;
  if (text.size() < kSize || text[2] != '-' || text[35] != '-' || text[52] != '-') {
    return std::nullopt;
  }
  const std::string_view version = text.substr(0, 2);
  const std::string_view trace = text.substr(3, 32);
  const std::string_view span = text.substr(36, 16);
  const std::string_view flags = text.substr(53, 2);
  if (!IsHex(version) || version == "ff" || !IsHex(trace) || !IsHex(span) || !IsHex(flags) ||
      IsZero(trace) || IsZero(span)) {
    return std::nullopt;
  }
  if (text.size() > kSize && (version == "00" || text[kSize] != '-')) return std::nullopt;
  const bool sampled = std::string_view("13579bdf").find(flags[1]) != std::string_view::npos;
  return TraceParent{std::string(trace), std::string(span), sampled};
}

std::string TraceparentText(std::string_view trace_id, std::string_view span_id, bool sampled) {
  std::string text = "00-";
  text += trace_id;
  text += '-';
  text += span_id;
  return text += sampled ? "-01" : "-00";
}

bool IsTracestate(std::string_view text) {
  if (text.size() > 512) return false;
  std::set<std::string_view> keys;
  size_t members = 0;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view member = Trimmed(text.substr(0, comma));
    if (!member.empty()) {
      const size_t equals = member.find('=');
      if (equals == std::string_view::npos || !IsStateKey(member.substr(0, equals)) ||
          !IsStateValue(member.substr(equals + 1)) ||
          !keys.insert(member.substr(0, equals)).second || ++members > 32) {
        return false;
      }
    }
    if (comma == std::string_view::npos) return members > 0;
    text.remove_prefix(comma + 1);
  }
}

std::string NewTraceId() { return RandomHex() + RandomHex(); }
std::string NewSpanId() { return RandomHex(); }

bool IsInSample(std::string_view trace_id, double ratio) {
  if (ratio <= 0 || trace_id.size() != 32) return false;
  if (ratio >= 1) return true;
  // The last 7 bytes, which are the random ones (as OpenTelemetry's ratio sampler has it).
  uint64_t value = 0;
  const std::string_view last = trace_id.substr(18);
  std::from_chars(last.data(), last.data() + last.size(), value, 16);
  return static_cast<double>(value) < ratio * static_cast<double>(uint64_t{1} << 56);
}

bool IsRequestId(std::string_view text) {
  if (text.empty() || text.size() > 128) return false;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && c != '-' && c != '_' && c != '.') return false;
  }
  return true;
}

}  // namespace sightline::serve
