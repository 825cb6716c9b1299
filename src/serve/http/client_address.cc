#include "serve/http/client_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace sightline::serve {

std::string ClientAddressOf(int socket) {
  sockaddr_storage peer{};
  socklen_t size = sizeof(peer);
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return "";
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &peer, sizeof(v4));
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
  } else if (peer.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &peer, sizeof(v6));
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      inet_ntop(AF_INET, v6.sin6_addr.s6_addr + 12, text, sizeof(text));
    } else {
      inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
    }
  }
  return text;
}

std::string NetworkOf(std::string_view address) {
  std::string text(address);
  in6_addr v6{};
  if (address.find(':') == std::string_view::npos) return text;
  // A link's own addresses have its name behind them, where they are shown with it.
  if (inet_pton(AF_INET6, text.substr(0, text.find('%')).c_str(), &v6) != 1) return text;
  std::fill(std::begin(v6.s6_addr) + 8, std::end(v6.s6_addr), uint8_t{0});
  char network[INET6_ADDRSTRLEN] = "";
  inet_ntop(AF_INET6, &v6, network, sizeof(network));
  return std::string(network) + "/64";
}

}  // namespace sightline::serve
