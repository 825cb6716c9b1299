#include "serve/http/address_seats_internal.h"

namespace sightline::serve {

std::shared_ptr<const void> AddressSeats::Take(const std::string& network, size_t* taken) {
  const auto at = taken_.try_emplace(network, 0).first;
  *taken = ++at->second;
  // Pointers to elements stay valid while others come and go.
  return {static_cast<const void*>(&at->second),
          [self = shared_from_this(), entry = &*at](const void*) {
            if (--entry->second == 0) self->taken_.erase(self->taken_.find(entry->first));
          }};
}

}  // namespace sightline::serve
