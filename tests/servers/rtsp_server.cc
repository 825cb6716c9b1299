// A camera for tests: one RTSP stream of a moving ball at rtsp[s]://127.0.0.1:PORT/live.
//
// The port is the system's choice, unless --port says which, and is printed on standard output as
// "PORT n". The server ends
// when its standard input closes, so that no test leaves it behind.
//
// rtsp_server [--codec h264|h265|mjpeg|audio] [--size WxH] [--fps N] [--gop N]
//             [--auth digest|basic|both --user NAME --password WORD]
//             [--port N] [--cert FILE --key FILE [--client-ca FILE]] [--rtp-offset N] [--frames N]
//   --gop         frames from one key frame to the next
//   --rtp-offset  the RTP time stamp of the first frame, to see the 32-bit counter wrap
//   --frames      the stream ends after so many frames
//   --client-ca   clients must show a certificate that this one has signed

#include <gst/gst.h>
#include <gst/rtsp-server/rtsp-server.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace {

const gchar* codec = "h264";
const gchar* size = "320x240";
gint fps = 25;
gint gop = 25;
const gchar* auth_method = nullptr;
const gchar* user = "viewer";
const gchar* password = "";
const gchar* cert_file = nullptr;
const gchar* key_file = nullptr;
const gchar* client_ca = nullptr;
gint64 rtp_offset = -1;
gint port = 0;
gint frames = -1;

GOptionEntry entries[] = {{"codec", 0, 0, G_OPTION_ARG_STRING, &codec, nullptr, nullptr},
                          {"size", 0, 0, G_OPTION_ARG_STRING, &size, nullptr, nullptr},
                          {"fps", 0, 0, G_OPTION_ARG_INT, &fps, nullptr, nullptr},
                          {"gop", 0, 0, G_OPTION_ARG_INT, &gop, nullptr, nullptr},
                          {"auth", 0, 0, G_OPTION_ARG_STRING, &auth_method, nullptr, nullptr},
                          {"user", 0, 0, G_OPTION_ARG_STRING, &user, nullptr, nullptr},
                          {"password", 0, 0, G_OPTION_ARG_STRING, &password, nullptr, nullptr},
                          {"cert", 0, 0, G_OPTION_ARG_FILENAME, &cert_file, nullptr, nullptr},
                          {"key", 0, 0, G_OPTION_ARG_FILENAME, &key_file, nullptr, nullptr},
                          {"client-ca", 0, 0, G_OPTION_ARG_FILENAME, &client_ca, nullptr, nullptr},
                          {"port", 0, 0, G_OPTION_ARG_INT, &port, nullptr, nullptr},
                          {"rtp-offset", 0, 0, G_OPTION_ARG_INT64, &rtp_offset, nullptr, nullptr},
                          {"frames", 0, 0, G_OPTION_ARG_INT, &frames, nullptr, nullptr},
                          {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};

// The pipeline of one viewer, from the picture to the packets. nullptr for an unknown codec.
gchar* DescribeMedia() {
  int width = 0;
  int height = 0;
  if (sscanf(size, "%dx%d", &width, &height) != 2 || width < 16 || height < 16) return nullptr;
  if (strcmp(codec, "audio") == 0) {
    return g_strdup("( audiotestsrc is-live=true ! audioconvert ! rtpL16pay name=pay0 pt=96 )");
  }
  gchar* encoder = nullptr;
  const gchar* payloader = nullptr;
  if (strcmp(codec, "h264") == 0) {
    encoder = g_strdup_printf(
        "openh264enc gop-size=%d complexity=low multi-thread=1 scene-change-detection=false "
        "bitrate=1000000",
        gop);
    payloader = "rtph264pay config-interval=-1 pt=96";
  } else if (strcmp(codec, "h265") == 0) {
    encoder = g_strdup_printf(
        "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=%d "
        "option-string=pools=1:frame-threads=1:log-level=none",
        gop);
    payloader = "rtph265pay config-interval=-1 pt=96";
  } else if (strcmp(codec, "mjpeg") == 0) {
    encoder = g_strdup("jpegenc quality=80");
    payloader = "rtpjpegpay pt=26";
  } else {
    return nullptr;
  }
  GString* text = g_string_new(nullptr);
  g_string_printf(text,
                  "( videotestsrc is-live=true pattern=ball num-buffers=%d ! "
                  "video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1 ! %s ! "
                  "%s name=pay0",
                  frames, width, height, fps, encoder, payloader);
  if (rtp_offset >= 0)
    g_string_append_printf(text, " timestamp-offset=%u", static_cast<guint>(rtp_offset));
  g_string_append(text, " )");
  g_free(encoder);
  return g_string_free(text, FALSE);
}

gboolean AcceptSigned(GstRTSPAuth*, GTlsConnection*, GTlsCertificate* peer, GTlsCertificateFlags,
                      gpointer ca) {
  return g_tls_certificate_verify(peer, nullptr, G_TLS_CERTIFICATE(ca)) == 0;
}

gboolean SetUpTls(GstRTSPAuth* auth) {
  GError* error = nullptr;
  GTlsCertificate* own = g_tls_certificate_new_from_files(cert_file, key_file, &error);
  if (own == nullptr) {
    fprintf(stderr, "rtsp_server: %s\n", error->message);
    return FALSE;
  }
  gst_rtsp_auth_set_tls_certificate(auth, own);
  g_object_unref(own);
  if (client_ca == nullptr) return TRUE;
  GTlsCertificate* ca = g_tls_certificate_new_from_file(client_ca, &error);
  if (ca == nullptr) {
    fprintf(stderr, "rtsp_server: %s\n", error->message);
    return FALSE;
  }
  gst_rtsp_auth_set_tls_authentication_mode(auth, G_TLS_AUTHENTICATION_REQUIRED);
  g_signal_connect(auth, "accept-certificate", G_CALLBACK(AcceptSigned), ca);
  return TRUE;
}

// Whether GStreamer's plugins are all there: otherwise every viewer would be told 503.
gboolean HaveElements(const gchar* media) {
  GError* error = nullptr;
  GstElement* element = gst_parse_launch_full(media, nullptr, GST_PARSE_FLAG_FATAL_ERRORS, &error);
  if (element != nullptr) {
    gst_object_unref(element);
    return TRUE;
  }
  fprintf(stderr, "rtsp_server: %s\n", error->message);
  return FALSE;
}

// Passwords and TLS. Without a password whoever comes in may look.
gboolean Protect(GstRTSPServer* server, GstRTSPMediaFactory* factory) {
  if (auth_method == nullptr && cert_file == nullptr) return TRUE;
  GstRTSPAuth* auth = gst_rtsp_auth_new();
  GstRTSPToken* token =
      gst_rtsp_token_new(GST_RTSP_TOKEN_MEDIA_FACTORY_ROLE, G_TYPE_STRING, "viewer", nullptr);
  if (auth_method == nullptr) {
    gst_rtsp_auth_set_default_token(auth, token);
  } else {
    const gboolean digest = strcmp(auth_method, "basic") != 0;
    const gboolean basic = strcmp(auth_method, "digest") != 0;
    gst_rtsp_auth_set_supported_methods(
        auth, static_cast<GstRTSPAuthMethod>((digest ? GST_RTSP_AUTH_DIGEST : 0) |
                                             (basic ? GST_RTSP_AUTH_BASIC : 0)));
    if (digest) gst_rtsp_auth_add_digest(auth, user, password, token);
    if (basic) {
      gchar* encoded = gst_rtsp_auth_make_basic(user, password);
      gst_rtsp_auth_add_basic(auth, encoded, token);
      g_free(encoded);
    }
  }
  gst_rtsp_token_unref(token);
  gst_rtsp_media_factory_add_role(factory, "viewer", GST_RTSP_PERM_MEDIA_FACTORY_ACCESS,
                                  G_TYPE_BOOLEAN, TRUE, GST_RTSP_PERM_MEDIA_FACTORY_CONSTRUCT,
                                  G_TYPE_BOOLEAN, TRUE, nullptr);
  const gboolean done = cert_file == nullptr || SetUpTls(auth);
  gst_rtsp_server_set_auth(server, auth);
  g_object_unref(auth);
  return done;
}

gboolean OnInput(GIOChannel* channel, GIOCondition condition, gpointer) {
  gchar byte = 0;
  gsize got = 0;
  if ((condition & G_IO_IN) != 0 &&
      g_io_channel_read_chars(channel, &byte, 1, &got, nullptr) == G_IO_STATUS_NORMAL) {
    return TRUE;
  }
  _exit(0);  // at once: a test that is over waits for nothing
}

}  // namespace

int main(int argc, char** argv) {
  GError* error = nullptr;
  GOptionContext* context = g_option_context_new(nullptr);
  g_option_context_add_main_entries(context, entries, nullptr);
  g_option_context_add_group(context, gst_init_get_option_group());
  if (!g_option_context_parse(context, &argc, &argv, &error)) {
    fprintf(stderr, "rtsp_server: %s\n", error->message);
    return 2;
  }
  gchar* media = DescribeMedia();
  if (media == nullptr) {
    fprintf(stderr, "rtsp_server: no such codec or size: %s %s\n", codec, size);
    return 2;
  }
  if (!HaveElements(media)) return 3;
  GstRTSPServer* server = gst_rtsp_server_new();
  gst_rtsp_server_set_address(server, "127.0.0.1");
  g_autofree gchar* service = g_strdup_printf("%d", port);
  gst_rtsp_server_set_service(server, service);
  GstRTSPMediaFactory* factory = gst_rtsp_media_factory_new();
  gst_rtsp_media_factory_set_launch(factory, media);
  gst_rtsp_media_factory_set_shared(factory, TRUE);
  if (!Protect(server, factory)) return 1;
  GstRTSPMountPoints* mounts = gst_rtsp_server_get_mount_points(server);
  gst_rtsp_mount_points_add_factory(mounts, "/live", factory);
  g_object_unref(mounts);
  if (gst_rtsp_server_attach(server, nullptr) == 0) {
    fprintf(stderr, "rtsp_server: cannot listen on 127.0.0.1\n");
    return 1;
  }
  GIOChannel* input = g_io_channel_unix_new(STDIN_FILENO);
  g_io_channel_set_encoding(input, nullptr, nullptr);
  g_io_channel_set_buffered(input, FALSE);
  g_io_add_watch(input, static_cast<GIOCondition>(G_IO_IN | G_IO_HUP | G_IO_ERR), OnInput, nullptr);
  printf("PORT %d\n", gst_rtsp_server_get_bound_port(server));
  fflush(stdout);
  g_main_loop_run(g_main_loop_new(nullptr, FALSE));
  return 0;
}
