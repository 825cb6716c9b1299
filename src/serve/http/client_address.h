// Who is at the other end of a connection.
#pragma once

#include <string>
#include <string_view>

namespace sightline::serve {

// The address without its port, "192.0.2.1" or "2001:db8::1"; IPv4 ones that come through an IPv6 socket
// as such. "" for what is no connection over IP. Threads: reentrant. Cost: a system call.
std::string ClientAddressOf(int socket);

// Who limits by address take for one: an IPv4 address as it is, of an IPv6 one the network that a single
// customer is given ("2001:db8:0:7::/64"), who may choose any of its 2^64 addresses. Other texts as they
// are. Threads: reentrant. Source: RFC 6177.
std::string NetworkOf(std::string_view address);

}  // namespace sightline::serve
