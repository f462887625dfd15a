#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <memory>

#include "media/image_decode.h"
#include "media/image_orientation.h"

namespace wan {

namespace {

using Demuxer =
    std::unique_ptr<WebPDemuxer, decltype([](WebPDemuxer* demuxer) { WebPDemuxDelete(demuxer); })>;

/// A frame of an image's file; libwebp's iterators point into the demuxer.
struct Frame : WebPIterator {
  explicit Frame(const WebPDemuxer* demuxer)
      : WebPIterator{}, found(WebPDemuxGetFrame(demuxer, 1, this) != 0) {}
  ~Frame() { WebPDemuxReleaseIterator(this); }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  bool found;
};

/// Decodes a frame into rows of `stride` bytes from `out` on.
bool decode_frame(const Frame& frame, WEBP_CSP_MODE mode, std::uint8_t* out, std::size_t stride,
                  std::size_t bytes) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) return false;
  // The demuxer has read these too, from the container; the bit stream decides what is written.
  if (WebPGetFeatures(frame.fragment.bytes, frame.fragment.size, &config.input) != VP8_STATUS_OK ||
      config.input.width != frame.width || config.input.height != frame.height)
    return false;
  config.output.colorspace = mode;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {out, static_cast<int>(stride), bytes};
  const bool decoded = WebPDecode(frame.fragment.bytes, frame.fragment.size, &config) == VP8_STATUS_OK;
  WebPFreeDecBuffer(&config.output);
  return decoded;
}

int orientation_of(const WebPDemuxer* demuxer) {
  WebPChunkIterator chunk{};
  int orientation = 1;
  if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk) != 0)
    orientation = exif_orientation(std::as_bytes(std::span(chunk.chunk.bytes, chunk.chunk.size)));
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

}  // namespace

DecodedImage decode_webp(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits) {
  const WebPData data{reinterpret_cast<const std::uint8_t*>(file.data()), file.size()};
  const Demuxer demuxer(WebPDemux(&data));
  WAN_CHECK(demuxer != nullptr, kBadFile,
            "[image] {}: not a readable WebP file: it is truncated or malformed; {}", name, kSaveAgain);
  const unsigned width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  const unsigned height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  check_image_size(width, height, name, limits);
  const Frame frame(demuxer.get());
  const auto inside = [](int offset, int size, unsigned whole) {
    return offset >= 0 && size > 0 && static_cast<unsigned>(size) <= whole &&
           static_cast<unsigned>(offset) <= whole - static_cast<unsigned>(size);
  };
  WAN_CHECK(frame.found && inside(frame.x_offset, frame.width, width) &&
                inside(frame.y_offset, frame.height, height),
            kBadFile, "[image] {}: the WebP file holds no whole frame; {}", name, kSaveAgain);

  DecodedImage decoded{make_image(static_cast<int>(width), static_cast<int>(height)),
                       orientation_of(demuxer.get())};
  Image& image = decoded.image;
  const auto frame_width = static_cast<std::size_t>(frame.width);
  const auto frame_height = static_cast<std::size_t>(frame.height);
  // An animation's first frame may be smaller than its canvas, which is transparent.
  if (frame_width != width || frame_height != height)
    std::fill(image.rgb.begin(), image.rgb.end(), std::uint8_t{255});
  std::uint8_t* corner = image.row(frame.y_offset) + static_cast<std::size_t>(frame.x_offset) * 3;
  bool whole = false;
  if (frame.has_alpha != 0) {
    std::vector<std::uint8_t> rgba(frame_width * frame_height * 4);
    whole = decode_frame(frame, MODE_RGBA, rgba.data(), frame_width * 4, rgba.size());
    for (std::size_t y = 0; whole && y < frame_height; ++y)
      flatten_over_white(rgba.data() + y * frame_width * 4, frame_width, corner + y * image.row_bytes());
  } else {
    const auto bytes = static_cast<std::size_t>(image.rgb.data() + image.rgb.size() - corner);
    whole = decode_frame(frame, MODE_RGB, corner, image.row_bytes(), bytes);
  }
  WAN_CHECK(whole, kBadFile, "[image] {}: the WebP does not decode: its data are damaged or truncated; {}",
            name, kSaveAgain);
  return decoded;
}

}  // namespace wan
