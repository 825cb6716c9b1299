// The RTSP server by GStreamer's gst-rtsp-server: a shared library of its own, so that only those who
// serve streams need GStreamer. Nothing of Sightline is linked into it.
//
// A stream is `appsrc ! rtp*pay`, made when its first viewer asks for it and shared by all of them;
// the session layer, RTP, RTCP and authentication are the library's.
#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <gst/rtsp-server/rtsp-server.h>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "sim/rtsp/rtsp_server.h"

namespace sightline::sim {
namespace {

constexpr int kWaitingPictures = 32;  // chosen: some two seconds
constexpr char kRole[] = "viewer";
constexpr char kStreamOfClient[] = "sightline-stream";

struct Stream {
  std::string path;  // "/street"
  RtspCodec codec = RtspCodec::kH264;
  GstClockTime born = 0;  // of GStreamer's system clock, which is the monotonic one
  std::atomic<Admission> admission{Admission::kOpen};
  std::mutex mutex;
  GstAppSrc* source = nullptr;  // while somebody watches; by `mutex`
  int width = 0;                // as `source` was told; by `mutex`
  int height = 0;
};

const char* MediaTypeOf(RtspCodec codec) {
  switch (codec) {
    case RtspCodec::kH264:
      return "video/x-h264,stream-format=byte-stream,alignment=au";
    case RtspCodec::kH265:
      return "video/x-h265,stream-format=byte-stream,alignment=au";
    case RtspCodec::kMjpeg:
      return "image/jpeg";
  }
  return "";
}

const char* PayloaderOf(RtspCodec codec) {
  switch (codec) {
    case RtspCodec::kH264:
      return "rtph264pay config-interval=-1 pt=96";
    case RtspCodec::kH265:
      return "rtph265pay config-interval=-1 pt=96";
    case RtspCodec::kMjpeg:
      return "rtpjpegpay pt=26";
  }
  return "";
}

std::string Described(RtspCodec codec) {
  return std::string("( appsrc name=pictures is-live=true format=time block=false max-bytes=0 ") +
         "max-time=0 max-buffers=" + std::to_string(kWaitingPictures) +
         " leaky-type=downstream ! " + PayloaderOf(codec) + " name=pay0 timestamp-offset=0 )";
}

// What a GLib function said, as a sentence.
std::string Taken(GError* error, const char* otherwise) {
  std::string text = error != nullptr ? error->message : otherwise;
  g_clear_error(&error);
  return text;
}

class GstServer final : public RtspServer {
 public:
  explicit GstServer(Options options) : options_(std::move(options)) {
    context_ = g_main_context_new();
    loop_ = g_main_loop_new(context_, FALSE);
    server_ = gst_rtsp_server_new();
  }
  ~GstServer() override;

  std::string AddStream(const std::string& path, RtspCodec codec,
                        int64_t born_monotonic_us) override;
  std::string Start() override;
  int port() const override { return port_; }
  bool Watched(size_t stream) const override {
    const std::lock_guard<std::mutex> lock(streams_[stream]->mutex);
    return streams_[stream]->source != nullptr;
  }
  void Send(size_t stream, const CodedPicture& picture) override;
  void Admit(size_t stream, Admission admission) override;

 private:
  static void OnMedia(GstRTSPMediaFactory*, GstRTSPMedia* media, gpointer stream);
  static void OnMediaGone(GstRTSPMedia* media, gpointer stream);
  static void OnClient(GstRTSPServer*, GstRTSPClient* client, gpointer self);
  static GstRTSPStatusCode OnRequest(GstRTSPClient* client, GstRTSPContext* request, gpointer self);
  static gboolean ForgetTheGone(gpointer server);
  static GstRTSPFilterResult SendAway(GstRTSPServer*, GstRTSPClient* client, gpointer stream);
  void Protect();
  Stream* FindStream(const char* path) const;

  const Options options_;
  GMainContext* context_ = nullptr;
  GMainLoop* loop_ = nullptr;
  GstRTSPServer* server_ = nullptr;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::thread thread_;
  int port_ = 0;
};

GstServer::~GstServer() {
  if (thread_.joinable()) {
    // From within, so that it is not lost on a loop that has not begun yet.
    GSource* quit = g_idle_source_new();
    const auto end = [](gpointer loop) -> gboolean {
      g_main_loop_quit(static_cast<GMainLoop*>(loop));
      return G_SOURCE_REMOVE;
    };
    g_source_set_callback(quit, end, loop_, nullptr);
    g_source_attach(quit, context_);
    g_source_unref(quit);
    thread_.join();
  }
  // Now that nobody is accepted any more.
  gst_rtsp_server_client_filter(
      server_, [](GstRTSPServer*, GstRTSPClient*, gpointer) { return GST_RTSP_FILTER_REMOVE; },
      nullptr);
  g_object_unref(server_);
  g_main_loop_unref(loop_);
  g_main_context_unref(context_);
  // A media that is still going down may come back to its stream.
  for (auto& stream : streams_) {
    const std::lock_guard<std::mutex> lock(stream->mutex);
    gst_clear_object(&stream->source);
  }
  for (auto& stream : streams_) (void)stream.release();
}

// A media was made for the first viewer: from now on pictures have a place to go.
void GstServer::OnMedia(GstRTSPMediaFactory*, GstRTSPMedia* media, gpointer data) {
  auto* stream = static_cast<Stream*>(data);
  GstElement* element = gst_rtsp_media_get_element(media);
  GstElement* source = gst_bin_get_by_name(GST_BIN(element), "pictures");
  if (GstObject* pipeline = gst_object_get_parent(GST_OBJECT(element)); pipeline != nullptr) {
    // Stream time is the camera's life, whoever comes when.
    g_autoptr(GstClock) clock = gst_system_clock_obtain();
    gst_pipeline_use_clock(GST_PIPELINE(pipeline), clock);
    gst_element_set_start_time(GST_ELEMENT(pipeline), GST_CLOCK_TIME_NONE);
    gst_element_set_base_time(GST_ELEMENT(pipeline), stream->born);
    gst_object_unref(pipeline);
  }
  // Pictures are sent when they are made, which is when they are due.
  gst_rtsp_media_set_rate_control(media, FALSE);
  g_signal_connect(media, "unprepared", G_CALLBACK(OnMediaGone), stream);
  {
    const std::lock_guard<std::mutex> lock(stream->mutex);
    gst_clear_object(&stream->source);
    stream->source = GST_APP_SRC(source);
    stream->width = stream->height = 0;
  }
  g_object_set_data(G_OBJECT(media), "pictures", source);
  gst_object_unref(element);
}

void GstServer::OnMediaGone(GstRTSPMedia* media, gpointer data) {
  auto* stream = static_cast<Stream*>(data);
  const std::lock_guard<std::mutex> lock(stream->mutex);
  // A later media may have taken its place already.
  if (g_object_get_data(G_OBJECT(media), "pictures") == stream->source) {
    gst_clear_object(&stream->source);
  }
}

Stream* GstServer::FindStream(const char* path) const {
  const std::string_view wanted = path == nullptr ? "" : path;
  for (const auto& stream : streams_) {
    const std::string_view own = stream->path;
    // A request for one of its tracks has more behind the path.
    if (wanted.starts_with(own) && (wanted.size() == own.size() || wanted[own.size()] == '/')) {
      return stream.get();
    }
  }
  return nullptr;
}

GstRTSPStatusCode GstServer::OnRequest(GstRTSPClient* client, GstRTSPContext* request,
                                       gpointer self) {
  Stream* stream = request->uri == nullptr
                       ? nullptr
                       : static_cast<GstServer*>(self)->FindStream(request->uri->abspath);
  if (stream == nullptr) return GST_RTSP_STS_OK;  // the server says 404 itself
  g_object_set_data(G_OBJECT(client), kStreamOfClient, stream);
  switch (stream->admission.load()) {
    case Admission::kOpen:
      return GST_RTSP_STS_OK;
    case Admission::kCut:
      return GST_RTSP_STS_SERVICE_UNAVAILABLE;
    case Admission::kRefuse:
      return GST_RTSP_STS_UNAUTHORIZED;
  }
  return GST_RTSP_STS_OK;
}

void GstServer::OnClient(GstRTSPServer*, GstRTSPClient* client, gpointer self) {
  for (const char* signal : {"pre-describe-request", "pre-setup-request", "pre-play-request"}) {
    g_signal_connect(client, signal, G_CALLBACK(OnRequest), self);
  }
}

GstRTSPFilterResult GstServer::SendAway(GstRTSPServer*, GstRTSPClient* client, gpointer stream) {
  return g_object_get_data(G_OBJECT(client), kStreamOfClient) == stream ? GST_RTSP_FILTER_REMOVE
                                                                        : GST_RTSP_FILTER_KEEP;
}

gboolean GstServer::ForgetTheGone(gpointer server) {
  GstRTSPSessionPool* pool = gst_rtsp_server_get_session_pool(GST_RTSP_SERVER(server));
  gst_rtsp_session_pool_cleanup(pool);
  g_object_unref(pool);
  return G_SOURCE_CONTINUE;
}

void GstServer::Admit(size_t index, Admission admission) {
  Stream& stream = *streams_[index];
  if (stream.admission.exchange(admission) == admission || admission == Admission::kOpen) return;
  gst_rtsp_server_client_filter(server_, SendAway, &stream);
}

void GstServer::Send(size_t index, const CodedPicture& picture) {
  Stream& stream = *streams_[index];
  GstAppSrc* source = nullptr;
  {
    const std::lock_guard<std::mutex> lock(stream.mutex);
    if (stream.source == nullptr) return;
    source = GST_APP_SRC(gst_object_ref(stream.source));
    if (stream.width != picture.width || stream.height != picture.height) {
      stream.width = picture.width;
      stream.height = picture.height;
      GstCaps* caps = gst_caps_from_string(MediaTypeOf(stream.codec));
      gst_caps_set_simple(caps, "width", G_TYPE_INT, picture.width, "height", G_TYPE_INT,
                          picture.height, nullptr);
      gst_app_src_set_caps(source, caps);
      gst_caps_unref(caps);
    }
  }
  GstBuffer* buffer = gst_buffer_new_memdup(picture.bytes.data(), picture.bytes.size());
  GST_BUFFER_PTS(buffer) = GST_BUFFER_DTS(buffer) =
      static_cast<GstClockTime>(picture.pts_us) * 1000;
  if (!picture.key) GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT);
  gst_app_src_push_buffer(source, buffer);  // who is going down says so; nobody is watching then
  gst_object_unref(source);
}

std::string GstServer::AddStream(const std::string& path, RtspCodec codec,
                                 int64_t born_monotonic_us) {
  GError* error = nullptr;
  const std::string launch = Described(codec);
  GstElement* element =
      gst_parse_launch_full(launch.c_str(), nullptr, GST_PARSE_FLAG_FATAL_ERRORS, &error);
  if (element == nullptr) return Taken(error, "GStreamer's plugins are missing");
  gst_object_unref(element);

  auto stream = std::make_unique<Stream>();
  stream->path = "/" + path;
  stream->codec = codec;
  stream->born = static_cast<GstClockTime>(born_monotonic_us) * 1000;
  GstRTSPMediaFactory* factory = gst_rtsp_media_factory_new();
  gst_rtsp_media_factory_set_launch(factory, launch.c_str());
  gst_rtsp_media_factory_set_shared(factory, TRUE);
  if (!options_.user.empty()) {
    gst_rtsp_media_factory_add_role(factory, kRole, GST_RTSP_PERM_MEDIA_FACTORY_ACCESS,
                                    G_TYPE_BOOLEAN, TRUE, GST_RTSP_PERM_MEDIA_FACTORY_CONSTRUCT,
                                    G_TYPE_BOOLEAN, TRUE, nullptr);
  }
  g_signal_connect(factory, "media-configure", G_CALLBACK(OnMedia), stream.get());
  GstRTSPMountPoints* mounts = gst_rtsp_server_get_mount_points(server_);
  gst_rtsp_mount_points_add_factory(mounts, stream->path.c_str(), factory);
  g_object_unref(mounts);
  streams_.push_back(std::move(stream));
  return "";
}

void GstServer::Protect() {
  if (options_.user.empty()) return;
  GstRTSPAuth* auth = gst_rtsp_auth_new();
  gst_rtsp_auth_set_supported_methods(auth, GST_RTSP_AUTH_DIGEST);
  GstRTSPToken* token =
      gst_rtsp_token_new(GST_RTSP_TOKEN_MEDIA_FACTORY_ROLE, G_TYPE_STRING, kRole, nullptr);
  gst_rtsp_auth_add_digest(auth, options_.user.c_str(), options_.password.c_str(), token);
  gst_rtsp_token_unref(token);
  gst_rtsp_server_set_auth(server_, auth);
  g_object_unref(auth);
}

std::string GstServer::Start() {
  gst_rtsp_server_set_address(server_, options_.address.c_str());
  gst_rtsp_server_set_service(server_, std::to_string(options_.port).c_str());
  // A thread for every viewer: one who waits for the first picture of a stream that stalls must not
  // hold up the others.
  GstRTSPThreadPool* pool = gst_rtsp_server_get_thread_pool(server_);
  gst_rtsp_thread_pool_set_max_threads(pool, -1);
  g_object_unref(pool);
  Protect();
  g_signal_connect(server_, "client-connected", G_CALLBACK(OnClient), this);
  GError* error = nullptr;
  GSource* listener = gst_rtsp_server_create_source(server_, nullptr, &error);
  if (listener == nullptr) {
    return "cannot listen on " + options_.address + " port " + std::to_string(options_.port) +
           ": " + Taken(error, "unknown reason");
  }
  g_source_attach(listener, context_);
  // Sessions of UDP viewers that went without a word end by their timeout, once somebody looks.
  constexpr guint kCleanupSeconds = 5;
  GSource* cleanup = g_timeout_source_new_seconds(kCleanupSeconds);
  g_source_set_callback(cleanup, ForgetTheGone, server_, nullptr);
  g_source_attach(cleanup, context_);
  g_source_unref(cleanup);
  g_source_unref(listener);
  port_ = gst_rtsp_server_get_bound_port(server_);
  thread_ = std::thread([this] {
    g_main_context_push_thread_default(context_);
    g_main_loop_run(loop_);
    g_main_context_pop_thread_default(context_);
  });
  return "";
}

}  // namespace
}  // namespace sightline::sim

extern "C" __attribute__((visibility("default"))) sightline::sim::RtspServer*
sightline_make_rtsp_server(const sightline::sim::RtspServer::Options& options, std::string* error) {
  GError* failure = nullptr;
  if (!gst_init_check(nullptr, nullptr, &failure)) {
    *error = sightline::sim::Taken(failure, "GStreamer does not start");
    return nullptr;
  }
  return new sightline::sim::GstServer(options);
}
