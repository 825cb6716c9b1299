#include "base/listen_address.h"

#include <arpa/inet.h>

#include <charconv>

namespace sightline {

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text) {
  const auto refuse = [&](std::string_view what) {
    return InvalidArgument(
        "\"{}\" is no place to listen: {}; write a port (9100: this machine alone), :PORT (every "
        "address of this machine) or ADDRESS:PORT",
        text, what);
  };
  ListenAddress result;
  const size_t colon = text.rfind(':');
  const std::string_view port = colon == std::string_view::npos ? text : text.substr(colon + 1);
  const char* const end = port.data() + port.size();
  const auto [stopped, error] = std::from_chars(port.data(), end, result.port);
  if (port.empty() || error != std::errc() || stopped != end) {
    return refuse("a port is a whole number from 0 to 65535");
  }
  if (colon == std::string_view::npos) {
    result.address = "127.0.0.1";
    return result;
  }
  std::string_view address = text.substr(0, colon);
  const bool bracketed = address.starts_with('[') && address.ends_with(']');
  if (bracketed) address = address.substr(1, address.size() - 2);
  if (address.empty() && !bracketed) return result;
  result.address = address == "localhost" ? "127.0.0.1" : std::string(address);
  in6_addr bytes{};
  const int family = bracketed ? AF_INET6 : AF_INET;
  if (inet_pton(family, result.address.c_str(), &bytes) != 1) {
    return refuse(bracketed ? "between the brackets stands no IPv6 address"
                            : "before the port stands no IPv4 address, and IPv6 needs brackets");
  }
  return result;
}

std::string ToString(const ListenAddress& address) {
  const bool v6 = address.address.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", address.address, v6 ? "]" : "", address.port);
}

}  // namespace sightline
