#include "serve/http/http_client.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <optional>

namespace sightline::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Stream = beast::basic_stream<asio::local::stream_protocol, asio::io_context::executor_type>;

absl::Status FailureOf(const beast::error_code& error, const std::string& socket) {
  const bool nobody = error == asio::error::connection_refused ||
                      error == beast::errc::no_such_file_or_directory ||
                      error == beast::errc::not_a_directory;
  if (nobody) return NotFound("nobody listens at {}", socket);
  if (error == beast::errc::permission_denied) {
    return MakeError(absl::StatusCode::kPermissionDenied, "{} belongs to another user: {}", socket,
                     error.message());
  }
  return Unavailable("{} does not answer: {}", socket, error.message());
}

}  // namespace

absl::StatusOr<HttpResponse> PostOverUnixSocket(const std::string& socket, const std::string& path,
                                                const std::string& json, int64_t timeout_us) {
  // sockaddr_un's own bound; asio throws beyond it.
  if (socket.size() > 107)
    return NotFound("nobody listens at {}: no socket has so long a path", socket);
  asio::io_context context(1);
  Stream stream(context);
  std::optional<beast::error_code> result;
  const auto wait = [&]() -> absl::Status {
    context.restart();
    context.run();
    if (!result || *result) return FailureOf(result.value_or(beast::error_code()), socket);
    result.reset();
    return absl::OkStatus();
  };
  const auto done = [&](const beast::error_code& error, auto...) { result = error; };

  stream.expires_after(std::chrono::microseconds(timeout_us));
  stream.async_connect(asio::local::stream_protocol::endpoint(socket), done);
  SL_RETURN_IF_ERROR(wait());
  http::request<http::string_body> request(http::verb::post, path, 11);
  request.set(http::field::host, "localhost");
  request.set(http::field::content_type, "application/json");
  request.set(http::field::connection, "close");
  request.body() = json;
  request.prepare_payload();
  http::async_write(stream, request, done);
  SL_RETURN_IF_ERROR(wait());
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  constexpr uint64_t kMostBytes = 64 << 20;  // chosen: no answer of ours comes near
  parser.body_limit(kMostBytes);
  http::async_read(stream, buffer, parser, done);
  SL_RETURN_IF_ERROR(wait());
  HttpResponse response;
  response.status = static_cast<int>(parser.get().result_int());
  response.body = std::move(parser.get().body());
  return response;
}

}  // namespace sightline::serve
