// Whether a host's name is known, asked so that nobody has to wait for the answer. Internal to this
// module.
//
// getaddrinfo() cannot be interrupted, and where the name servers are silent it blocks for half a
// minute. Here it runs on a thread of its own, which is left behind when nobody wants to know any
// more. The answer itself is not kept: whoever connects asks again, and the servers that answered
// just now answer that, too (docs/decisions/live_streams.md).
//
// Threads: any. Bounds: one thread for each name that is being asked for, at most kMostThreads;
// further names wait for a place.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace sightline {

class NameLookup {
 public:
  static constexpr int kMostThreads = 64;  // chosen; each costs a stack that is hardly touched

  // Blocks; 0, or one of getaddrinfo's EAI_ codes.
  using LookUp = std::function<int(const std::string& host)>;
  explicit NameLookup(LookUp look_up);
  // With getaddrinfo().
  static NameLookup& System();

  // 0, an EAI_ code, or nullopt when `stop`, asked ten times a second, said so. An address in
  // numbers is known at once.
  std::optional<int> Find(const std::string& host, const std::function<bool()>& stop);

 private:
  struct State;
  const std::shared_ptr<State> state_;  // shared with the threads, which may outlive this
};

}  // namespace sightline
