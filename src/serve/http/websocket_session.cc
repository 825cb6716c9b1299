// Feeds over a WebSocket.
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <chrono>
#include <utility>

#include "serve/http/feed_session_internal.h"

namespace sightline::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using ErrorCode = HttpStream::ErrorCode;

constexpr size_t kMostFromClient = 4096;  // bytes of a message, which nobody reads
// Pinged after half of it; a client that gives no sign of life for so long is gone.
constexpr std::chrono::seconds kSilence(30);

beast::string_view View(std::string_view text) { return {text.data(), text.size()}; }

class WebSocketSession final : public FeedConnection {
 public:
  WebSocketSession(HttpConnectionHost& host, const HttpRequest& request)
      : FeedConnection(host), buffer_(kMostFromClient) {
    request_.method(beast::http::verb::get);
    request_.target(View(std::string_view(request.path)));
    request_.version(11);
    for (const auto& [name, value] : request.headers) {
      request_.insert(View(std::string_view(name)), View(std::string_view(value)));
    }
  }

  ~WebSocketSession() override {
    if (socket_) SetWrittenBytes(socket_->next_layer().written_bytes());
  }

  void EndWhenAnswered() override { queue()->End(); }
  void Close() override { socket_->next_layer().Close(); }
  void OnFeedAlarm() override {
    if (!closing_) host().TimedOut();
    Close();
  }
  void OnWake() override { Write(); }
  bool is_stuck() const override { return writing_; }

 private:
  using Socket = websocket::stream<HttpStream, /*deflateSupported=*/false>;

  void Begin(HttpStream&& stream) override {
    socket_.emplace(std::move(stream));
    socket_->set_option(websocket::stream_base::timeout{
        .handshake_timeout = std::chrono::microseconds(host().options().request_timeout_us),
        .idle_timeout = kSilence,
        .keep_alive_pings = true});
    NamedTexts headers;
    AddGateHeaders(&headers);
    socket_->set_option(
        websocket::stream_base::decorator([headers](websocket::response_type& response) {
          for (const auto& [name, value] : headers) {
            response.set(View(std::string_view(name)), View(std::string_view(value)));
          }
        }));
    socket_->read_message_max(kMostFromClient);
    socket_->text(true);
    socket_->async_accept(request_, [self = Self()](ErrorCode error) {
      self->request_ = {};
      if (error) return self->Close();  // and was told why
      self->accepted_ = true;
      self->Read();
      self->Write();
    });
  }
  std::shared_ptr<WebSocketSession> Self() {
    return std::static_pointer_cast<WebSocketSession>(shared_from_this());
  }
  // Answers pings and sees the end.
  void Read() {
    socket_->async_read(buffer_, [self = Self()](ErrorCode error, size_t) {
      if (error) return self->Close();
      self->buffer_.consume(self->buffer_.size());
      self->Read();
    });
  }
  void Write() {
    if (!accepted_ || writing_) return;
    sent_ = queue()->Take();
    if (sent_ == nullptr) {
      if (queue()->at_end()) Finish();
      return;
    }
    writing_ = true;
    SetFeedAlarm(host().NowUs() + host().options().write_timeout_us);
    socket_->async_write(asio::buffer(sent_->data), [self = Self()](ErrorCode error, size_t) {
      self->writing_ = false;
      self->SetFeedAlarm(HttpConnectionHost::kNever);
      if (error) return self->Close();
      self->Write();
    });
  }
  void Finish() {
    writing_ = closing_ = true;  // nothing more
    SetFeedAlarm(host().NowUs() + host().options().close_timeout_us);
    const websocket::close_code why = is_revoked()        ? websocket::close_code::policy_error
                                      : host().stopping() ? websocket::close_code::going_away
                                                          : websocket::close_code::normal;
    socket_->async_close(websocket::close_reason(why),
                         [self = Self()](ErrorCode) { self->Close(); });
  }

  beast::http::request<beast::http::empty_body> request_;
  std::optional<Socket> socket_;
  beast::flat_buffer buffer_;
  std::shared_ptr<const FeedMessage> sent_;
  bool accepted_ = false;
  bool writing_ = false;
  bool closing_ = false;
};

}  // namespace

std::shared_ptr<FeedConnection> MakeWebSocket(HttpConnectionHost& host,
                                              const HttpRequest& request) {
  return std::make_shared<WebSocketSession>(host, request);
}

}  // namespace sightline::serve
