// Owning handles of libav objects. Only for .cc files of this module: libav types stay in here.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/frame.h>
#include <libswscale/swscale.h>
}

#include <memory>

namespace sightline {

template <auto Free>
struct AvFreeByAddress {
  template <typename T>
  void operator()(T* object) const {
    Free(&object);
  }
};
template <auto Free>
struct AvFree {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};

using AvFramePtr = std::unique_ptr<AVFrame, AvFreeByAddress<&av_frame_free>>;
using AvPacketPtr = std::unique_ptr<AVPacket, AvFreeByAddress<&av_packet_free>>;
using AvCodecContextPtr = std::unique_ptr<AVCodecContext, AvFreeByAddress<&avcodec_free_context>>;
using AvInputPtr = std::unique_ptr<AVFormatContext, AvFreeByAddress<&avformat_close_input>>;
using AvOutputPtr = std::unique_ptr<AVFormatContext, AvFree<&avformat_free_context>>;
using SwsContextPtr = std::unique_ptr<SwsContext, AvFree<&sws_freeContext>>;

struct AvioContextFree {
  void operator()(AVIOContext* io) const {
    if (io != nullptr) av_freep(&io->buffer);
    avio_context_free(&io);
  }
};
using AvioContextPtr = std::unique_ptr<AVIOContext, AvioContextFree>;

class AvDictionary {
 public:
  AvDictionary() = default;
  ~AvDictionary() { av_dict_free(&dictionary_); }
  AvDictionary(const AvDictionary&) = delete;
  AvDictionary& operator=(const AvDictionary&) = delete;
  void Set(const char* key, const char* value) { av_dict_set(&dictionary_, key, value, 0); }
  void Set(const char* key, int64_t value) { av_dict_set_int(&dictionary_, key, value, 0); }
  AVDictionary** address() { return &dictionary_; }

 private:
  AVDictionary* dictionary_ = nullptr;
};

}  // namespace sightline
