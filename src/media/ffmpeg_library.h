#pragma once
// FFmpeg's functions that the program calls, by their own names in namespace wan. Their libraries bring a hundred others, which are not read
// at every start but when the first of these is called. Included by FFmpeg-built files only.

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/channel_layout.h>
#include <libavutil/frame.h>
#include <libavutil/imgutils.h>
#include <libavutil/mathematics.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>
}

#include <atomic>

namespace wan {

/// The function in the library of this file name, which is loaded at the first call. Throws Unsupported, saying what to install, where it is
/// not there.
void* find_in_ffmpeg(const char* library, const char* function);

template <typename Signature>
class FfmpegFunction;

template <typename Result, typename... Arguments>
class FfmpegFunction<Result(Arguments...)> {
 public:
  constexpr FfmpegFunction(const char* library, const char* name) : library_(library), name_(name) {}

  Result operator()(Arguments... arguments) const {
    void* function = address_.load(std::memory_order_relaxed);
    if (function == nullptr) address_ = function = find_in_ffmpeg(library_, name_);
    return reinterpret_cast<Result (*)(Arguments...)>(function)(arguments...);
  }

 private:
  const char* library_;
  const char* name_;
  mutable std::atomic<void*> address_ = nullptr;
};

// File names of the version that the headers are of: another one's structures are laid out otherwise.
inline constexpr const char* kAvutil = "libavutil.so." AV_STRINGIFY(LIBAVUTIL_VERSION_MAJOR);
inline constexpr const char* kAvcodec = "libavcodec.so." AV_STRINGIFY(LIBAVCODEC_VERSION_MAJOR);
inline constexpr const char* kAvformat = "libavformat.so." AV_STRINGIFY(LIBAVFORMAT_VERSION_MAJOR);
inline constexpr const char* kSwresample = "libswresample.so." AV_STRINGIFY(LIBSWRESAMPLE_VERSION_MAJOR);
inline constexpr const char* kSwscale = "libswscale.so." AV_STRINGIFY(LIBSWSCALE_VERSION_MAJOR);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // of functions whose results must be looked at
#define WAN_FFMPEG(library, name) \
  inline constinit const FfmpegFunction<decltype(::name)> name{library, #name};
WAN_FFMPEG(kAvutil, av_channel_layout_copy)
WAN_FFMPEG(kAvutil, av_channel_layout_default)
WAN_FFMPEG(kAvutil, av_channel_layout_from_mask)
WAN_FFMPEG(kAvutil, av_channel_layout_uninit)
WAN_FFMPEG(kAvutil, av_dict_free)
WAN_FFMPEG(kAvutil, av_dict_set)
WAN_FFMPEG(kAvutil, av_frame_alloc)
WAN_FFMPEG(kAvutil, av_frame_free)
WAN_FFMPEG(kAvutil, av_frame_get_buffer)
WAN_FFMPEG(kAvutil, av_frame_unref)
WAN_FFMPEG(kAvutil, av_get_packed_sample_fmt)
WAN_FFMPEG(kAvutil, av_image_copy_plane)
WAN_FFMPEG(kAvutil, av_log_format_line2)
WAN_FFMPEG(kAvutil, av_log_set_callback)
WAN_FFMPEG(kAvutil, av_opt_set)
WAN_FFMPEG(kAvutil, av_opt_set_int)
WAN_FFMPEG(kAvutil, av_rescale)
WAN_FFMPEG(kAvutil, av_sample_fmt_is_planar)
WAN_FFMPEG(kAvutil, av_strerror)
WAN_FFMPEG(kAvcodec, av_codec_is_encoder)
WAN_FFMPEG(kAvcodec, av_codec_iterate)
WAN_FFMPEG(kAvcodec, av_new_packet)
WAN_FFMPEG(kAvcodec, av_packet_alloc)
WAN_FFMPEG(kAvcodec, av_packet_free)
WAN_FFMPEG(kAvcodec, av_packet_rescale_ts)
WAN_FFMPEG(kAvcodec, av_packet_unref)
WAN_FFMPEG(kAvcodec, avcodec_alloc_context3)
WAN_FFMPEG(kAvcodec, avcodec_find_decoder)
WAN_FFMPEG(kAvcodec, avcodec_find_encoder)
WAN_FFMPEG(kAvcodec, avcodec_free_context)
WAN_FFMPEG(kAvcodec, avcodec_get_name)
WAN_FFMPEG(kAvcodec, avcodec_open2)
WAN_FFMPEG(kAvcodec, avcodec_parameters_from_context)
WAN_FFMPEG(kAvcodec, avcodec_parameters_to_context)
WAN_FFMPEG(kAvcodec, avcodec_receive_frame)
WAN_FFMPEG(kAvcodec, avcodec_receive_packet)
WAN_FFMPEG(kAvcodec, avcodec_send_frame)
WAN_FFMPEG(kAvcodec, avcodec_send_packet)
#if LIBAVFORMAT_VERSION_MAJOR >= 61
WAN_FFMPEG(kAvcodec, av_packet_side_data_get)
#endif
WAN_FFMPEG(kAvformat, av_interleaved_write_frame)
WAN_FFMPEG(kAvformat, av_read_frame)
WAN_FFMPEG(kAvformat, av_write_trailer)
WAN_FFMPEG(kAvformat, avformat_alloc_output_context2)
WAN_FFMPEG(kAvformat, avformat_close_input)
WAN_FFMPEG(kAvformat, avformat_find_stream_info)
WAN_FFMPEG(kAvformat, avformat_free_context)
WAN_FFMPEG(kAvformat, avformat_new_stream)
WAN_FFMPEG(kAvformat, avformat_open_input)
WAN_FFMPEG(kAvformat, avformat_write_header)
WAN_FFMPEG(kAvformat, avio_closep)
WAN_FFMPEG(kAvformat, avio_open)
#if LIBAVFORMAT_VERSION_MAJOR < 61
WAN_FFMPEG(kAvformat, av_stream_get_side_data)
#endif
WAN_FFMPEG(kSwresample, swr_alloc_set_opts2)
WAN_FFMPEG(kSwresample, swr_convert)
WAN_FFMPEG(kSwresample, swr_free)
WAN_FFMPEG(kSwresample, swr_get_out_samples)
WAN_FFMPEG(kSwresample, swr_init)
WAN_FFMPEG(kSwscale, sws_alloc_context)
WAN_FFMPEG(kSwscale, sws_freeContext)
WAN_FFMPEG(kSwscale, sws_getCachedContext)
WAN_FFMPEG(kSwscale, sws_getCoefficients)
WAN_FFMPEG(kSwscale, sws_getColorspaceDetails)
WAN_FFMPEG(kSwscale, sws_init_context)
WAN_FFMPEG(kSwscale, sws_scale)
WAN_FFMPEG(kSwscale, sws_setColorspaceDetails)
#undef WAN_FFMPEG
#pragma GCC diagnostic pop

}  // namespace wan
