// A server for tests, on a port of loopback that is free.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "serve/http/http_server.h"

namespace sightline::serve {

// Made and not started, by `options` but for the address; null when it cannot be, which fails the test.
inline std::unique_ptr<HttpServer> MakeOnLoopback(HttpServerOptions options) {
  options.tcp = ListenAddress{.address = "127.0.0.1", .port = 0};
  auto made = HttpServer::Create(options);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *std::move(made) : nullptr;
}

}  // namespace sightline::serve
