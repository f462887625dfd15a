#include "support/video_reader.h"

#include <gtest/gtest.h>

extern "C" {
#include <libavutil/pixdesc.h>
}

#include <algorithm>
#include <cmath>
#include <functional>

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

/// Gives every decoded frame of a stream to `take`.
void decode(AVFormatContext& input, int stream, const std::function<void(const AVFrame&)>& take) {
  const AVCodecParameters& parameters = *input.streams[stream]->codecpar;
  const AVCodec* codec = avcodec_find_decoder(parameters.codec_id);
  FfmpegPtr<AVCodecContext> decoder(avcodec_alloc_context3(codec));
  ASSERT_GE(avcodec_parameters_to_context(decoder.get(), &parameters), 0);
  ASSERT_EQ(avcodec_open2(decoder.get(), codec, nullptr), 0);
  decoder->pkt_timebase = input.streams[stream]->time_base;
  FfmpegPtr<AVPacket> packet(av_packet_alloc());
  FfmpegPtr<AVFrame> frame(av_frame_alloc());
  const auto drain = [&] {
    while (avcodec_receive_frame(decoder.get(), frame.get()) == 0) {
      EXPECT_EQ(frame->decode_error_flags, 0);
      take(*frame);
    }
  };
  while (av_read_frame(&input, packet.get()) == 0) {
    if (packet->stream_index == stream) {
      EXPECT_EQ(avcodec_send_packet(decoder.get(), packet.get()), 0);
    }
    av_packet_unref(packet.get());
    drain();
  }
  avcodec_send_packet(decoder.get(), nullptr);
  drain();
}

/// Null, and a test failure, for a file that has not one stream of the type, alone or beside one of another.
AVFormatContext* open_with_one(const std::filesystem::path& path, AVMediaType type) {
  AVFormatContext* input = nullptr;
  if (avformat_open_input(&input, path.c_str(), nullptr, nullptr) == 0 &&
      avformat_find_stream_info(input, nullptr) >= 0 && input->nb_streams <= 2 &&
      av_find_best_stream(input, type, -1, -1, nullptr, 0) >= 0)
    return input;
  ADD_FAILURE() << path << " is not a file of one video stream, alone or with one sound";
  avformat_close_input(&input);
  return nullptr;
}

}  // namespace

DecodedVideo read_video(const std::filesystem::path& path) {
  DecodedVideo video;
  AVFormatContext* input = open_with_one(path, AVMEDIA_TYPE_VIDEO);
  if (input == nullptr) return video;
  const int index = av_find_best_stream(input, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  const AVStream& stream = *input->streams[index];
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
  decode(*input, index, [&](const AVFrame& frame) {
    video.times.push_back(static_cast<double>(frame.best_effort_timestamp) * av_q2d(stream.time_base));
    video.yuv.push_back({plane_of(frame, 0), plane_of(frame, 1), plane_of(frame, 2)});
  });
  avformat_close_input(&input);
  return video;
}

DecodedSound read_sound(const std::filesystem::path& path) {
  DecodedSound sound;
  AVFormatContext* input = open_with_one(path, AVMEDIA_TYPE_AUDIO);
  if (input == nullptr) return sound;
  const int index = av_find_best_stream(input, AVMEDIA_TYPE_AUDIO, -1, -1, nullptr, 0);
  const AVStream& stream = *input->streams[index];
  sound.codec = avcodec_get_name(stream.codecpar->codec_id);
  sound.rate = stream.codecpar->sample_rate;
  sound.channels = stream.codecpar->ch_layout.nb_channels;
  decode(*input, index, [&](const AVFrame& frame) {
    EXPECT_EQ(frame.format, AV_SAMPLE_FMT_FLTP);
    const double begins = static_cast<double>(frame.best_effort_timestamp) * av_q2d(stream.time_base);
    if (sound.samples.empty()) sound.begins = begins;
    EXPECT_NEAR(begins, sound.begins + static_cast<double>(sound.samples.size()) / sound.rate, 1e-3);
    const auto* values = reinterpret_cast<const float*>(frame.extended_data[0]);
    sound.samples.insert(sound.samples.end(), values, values + frame.nb_samples);
  });
  sound.seconds = static_cast<double>(stream.start_time + stream.duration) * av_q2d(stream.time_base);
  avformat_close_input(&input);
  return sound;
}

double largest_gap(const std::filesystem::path& path) {
  AVFormatContext* input = open_with_one(path, AVMEDIA_TYPE_AUDIO);
  if (input == nullptr) return 0;
  const FfmpegPtr<AVPacket> packet(av_packet_alloc());
  std::map<int, double> last;
  double largest = 0;
  while (av_read_frame(input, packet.get()) == 0) {
    const double at =
        static_cast<double>(packet->dts) * av_q2d(input->streams[packet->stream_index]->time_base);
    for (const auto& [stream, time] : last)
      if (stream != packet->stream_index) largest = std::max(largest, std::abs(at - time));
    last[packet->stream_index] = at;
    av_packet_unref(packet.get());
  }
  EXPECT_EQ(last.size(), 2u);
  avformat_close_input(&input);
  return largest;
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
