#include "serve/http/client_address.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "serve/http/address_seats_internal.h"

namespace sightline::serve {
namespace {

TEST(NetworkOf, OneCustomerIsOne) {
  EXPECT_EQ(NetworkOf("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(NetworkOf("2001:db8:0:7:1:2:3:4"), "2001:db8:0:7::/64");
  EXPECT_EQ(NetworkOf("2001:db8:0:7::"), "2001:db8:0:7::/64");
  EXPECT_EQ(NetworkOf("2001:db8:0:8:1:2:3:4"), "2001:db8:0:8::/64");
  EXPECT_EQ(NetworkOf("fe80::1%eth0"), "fe80::/64");
  EXPECT_EQ(NetworkOf("::1"), "::/64");
  for (const char* other : {"", "unix", "no:address", ":"}) EXPECT_EQ(NetworkOf(other), other);
}

TEST(AddressSeats, AreTakenAndGivenBack) {
  auto seats = std::make_shared<AddressSeats>();
  size_t taken = 0;
  auto first = seats->Take("a", &taken);
  EXPECT_EQ(taken, 1u);
  auto second = seats->Take("a", &taken);
  EXPECT_EQ(taken, 2u);
  const auto other = seats->Take("b", &taken);
  EXPECT_EQ(taken, 1u);
  first.reset();
  auto third = seats->Take("a", &taken);
  EXPECT_EQ(taken, 2u);
  third.reset();
  second.reset();
  const auto last = seats->Take("a", &taken);
  EXPECT_EQ(taken, 1u);
  seats.reset();  // what is held outlives it
}

}  // namespace
}  // namespace sightline::serve
