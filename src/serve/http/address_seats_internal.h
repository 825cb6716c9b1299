// How many connections each network of clients has (client_address.h). Internal to serve/http.
//
// Threads: everything on the server's. Memory: an entry for each network that has a connection.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>

namespace sightline::serve {

class AddressSeats : public std::enable_shared_from_this<AddressSeats> {
 public:
  // One more connection, until what is returned is gone. `taken`: how many there are with it.
  std::shared_ptr<const void> Take(const std::string& network, size_t* taken);

 private:
  std::unordered_map<std::string, size_t> taken_;
};

}  // namespace sightline::serve
