#include "support/video_reader.h"

#include <gtest/gtest.h>

extern "C" {
#include <libavutil/pixdesc.h>
}

#include "media/ffmpeg_support.h"

namespace wan::test {

namespace {

std::vector<std::uint8_t> plane_of(const AVFrame& frame, int plane) {
  const int shift = plane == 0 ? 0 : 1;
  const int width = frame.width >> shift;
  std::vector<std::uint8_t> values;
  for (int y = 0; y < frame.height >> shift; ++y) {
    const std::uint8_t* row = frame.data[plane] + static_cast<std::ptrdiff_t>(y) * frame.linesize[plane];
    values.insert(values.end(), row, row + width);
  }
  return values;
}

void decode(AVFormatContext& input, int stream, DecodedVideo& video) {
  const AVCodecParameters& parameters = *input.streams[stream]->codecpar;
  const AVCodec* codec = avcodec_find_decoder(parameters.codec_id);
  FfmpegPtr<AVCodecContext> decoder(avcodec_alloc_context3(codec));
  ASSERT_GE(avcodec_parameters_to_context(decoder.get(), &parameters), 0);
  ASSERT_EQ(avcodec_open2(decoder.get(), codec, nullptr), 0);
  FfmpegPtr<AVPacket> packet(av_packet_alloc());
  FfmpegPtr<AVFrame> frame(av_frame_alloc());
  const double tick = av_q2d(input.streams[stream]->time_base);
  const auto drain = [&] {
    while (avcodec_receive_frame(decoder.get(), frame.get()) == 0) {
      EXPECT_EQ(frame->decode_error_flags, 0);
      video.times.push_back(static_cast<double>(frame->best_effort_timestamp) * tick);
      video.yuv.push_back({plane_of(*frame, 0), plane_of(*frame, 1), plane_of(*frame, 2)});
    }
  };
  while (av_read_frame(&input, packet.get()) == 0) {
    EXPECT_EQ(avcodec_send_packet(decoder.get(), packet.get()), 0);
    av_packet_unref(packet.get());
    drain();
  }
  avcodec_send_packet(decoder.get(), nullptr);
  drain();
}

}  // namespace

DecodedVideo read_video(const std::filesystem::path& path) {
  DecodedVideo video;
  AVFormatContext* input = nullptr;
  if (avformat_open_input(&input, path.c_str(), nullptr, nullptr) != 0 ||
      avformat_find_stream_info(input, nullptr) < 0 || input->nb_streams != 1) {
    ADD_FAILURE() << path << " is not a file of one video stream";
    avformat_close_input(&input);
    return video;
  }
  const AVStream& stream = *input->streams[0];
  const AVCodecParameters& parameters = *stream.codecpar;
  video.codec = avcodec_get_name(parameters.codec_id);
  video.pixel_format = av_get_pix_fmt_name(static_cast<AVPixelFormat>(parameters.format));
  video.width = parameters.width;
  video.height = parameters.height;
  video.rate = {stream.avg_frame_rate.num, stream.avg_frame_rate.den};
  video.seconds = static_cast<double>(input->duration) / AV_TIME_BASE;
  video.range = parameters.color_range;
  video.matrix = parameters.color_space;
  video.primaries = parameters.color_primaries;
  video.transfer = parameters.color_trc;
  video.chroma_location = parameters.chroma_location;
  const AVDictionaryEntry* entry = nullptr;
  while ((entry = av_dict_get(input->metadata, "", entry, AV_DICT_IGNORE_SUFFIX)) != nullptr)
    video.metadata[entry->key] = entry->value;
  decode(*input, 0, video);
  avformat_close_input(&input);
  return video;
}

std::array<double, 3> yuv_to_rgb(double y, double u, double v, double kr, double kb) {
  const double luma = (y - 16) / 219;
  const double blue_difference = (u - 128) / 224;
  const double red_difference = (v - 128) / 224;
  const double red = luma + 2 * (1 - kr) * red_difference;
  const double blue = luma + 2 * (1 - kb) * blue_difference;
  const double green = (luma - kr * red - kb * blue) / (1 - kr - kb);
  return {255 * red, 255 * green, 255 * blue};
}

}  // namespace wan::test
