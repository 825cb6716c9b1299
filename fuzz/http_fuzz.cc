// Any bytes as what a client says on a connection to the serving API: every answer is HTTP, and the server
// closes when the client has said all.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "serve/http/http_server.h"
#include "serve/http/test_http_client.h"
#include "serve/inference/test_service.h"
#include "serve/rest/rest_routes.h"

namespace {

using namespace sightline;
using namespace sightline::serve;

void Require(bool condition) {
  if (!condition) std::abort();
}

struct World {
  TestService served{"http-fuzz"};
  std::unique_ptr<HttpServer> server;
  World() {
    Require(served.Load().ok());
    HttpServerOptions options;
    options.unix_path = served.folder() + "/socket";
    options.max_body_bytes = 1 << 20;
    auto made = HttpServer::Create(options);
    Require(made.ok());
    server = *std::move(made);
    RestOptions rest;
    rest.max_request_bytes = 1 << 20;
    Require(AddRestRoutes(served.service(), rest, *server).ok() && server->Start().ok());
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  RawClient client = RawClient::Unix(world.served.folder() + "/socket");
  Require(client.connected());
  client.Say({reinterpret_cast<const char*>(data), size});
  client.EndSaying();
  const std::string answers = client.HearAll();
  Require(answers.empty() || answers.starts_with("HTTP/1.1 "));
  return 0;
}
