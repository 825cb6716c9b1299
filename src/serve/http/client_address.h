// Who is at the other end of a connection.
#pragma once

#include <string>

namespace sightline::serve {

// The address without its port, "192.0.2.1" or "2001:db8::1"; IPv4 ones that come through an IPv6 socket
// as such. "" for what is no connection over IP. Threads: reentrant. Cost: a system call.
std::string ClientAddressOf(int socket);

}  // namespace sightline::serve
