#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it
#include <cstring>

#include <jpeglib.h>

#include <jerror.h>  // its numbers depend on jpeglib.h

#include "media/image_decode.h"
#include "media/image_orientation.h"

namespace wan {

namespace {

// A progressive file of a few kilobytes can ask for any number of passes over all its pixels. Encoders write about
// ten scans.
constexpr int kMaxScans = 500;

/// libjpeg reports errors by longjmp, over its own C frames and ours: functions that may be left that way hold
/// no object with a destructor. This object owns all that they use.
class JpegReader {
 public:
  explicit JpegReader(std::span<const std::byte> file) {
    jpeg_.err = jpeg_std_error(&errors_);
    errors_.error_exit = on_error;
    errors_.emit_message = on_message;
    errors_.output_message = [](j_common_ptr) {};
    jpeg_.client_data = this;
    source_.next_input_byte = reinterpret_cast<const JOCTET*>(file.data());
    source_.bytes_in_buffer = file.size();
    source_.init_source = [](j_decompress_ptr) {};
    source_.fill_input_buffer = on_end_of_file;
    source_.skip_input_data = on_skip;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = [](j_decompress_ptr) {};
    progress_.progress_monitor = on_progress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  /// Reads up to the first scan. False: see message().
  bool read_header() {
    if (setjmp(escape_) != 0) return false;
    jpeg_create_decompress(&jpeg_);
    jpeg_.client_data = this;
    jpeg_.src = &source_;
    jpeg_.progress = &progress_;
    jpeg_save_markers(&jpeg_, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&jpeg_, TRUE);
    return true;
  }

  /// Decodes into rows of RGB; `cmyk_row` has room for a row of four bytes a pixel. False: see message().
  bool read_pixels(std::uint8_t* rgb, std::uint8_t* cmyk_row) {
    if (setjmp(escape_) != 0) return false;
    const bool cmyk = components() == 4;
    jpeg_.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&jpeg_);
    const std::size_t width = jpeg_.output_width;
    while (jpeg_.output_scanline < jpeg_.output_height) {
      std::uint8_t* out = rgb + width * 3 * jpeg_.output_scanline;
      JSAMPROW row = cmyk ? cmyk_row : out;
      jpeg_read_scanlines(&jpeg_, &row, 1);
      if (cmyk) cmyk_to_rgb(cmyk_row, width, out);
    }
    return true;
  }

  unsigned width() const { return jpeg_.image_width; }
  unsigned height() const { return jpeg_.image_height; }
  int components() const { return jpeg_.num_components; }
  const char* message() const { return message_; }

  int orientation() const {
    for (jpeg_saved_marker_ptr marker = jpeg_.marker_list; marker != nullptr; marker = marker->next) {
      if (marker->data_length < 6 || std::memcmp(marker->data, "Exif\0\0", 6) != 0) continue;
      return exif_orientation(std::as_bytes(std::span(marker->data, marker->data_length)));
    }
    return 1;
  }

 private:
  static JpegReader* self(j_common_ptr jpeg) { return static_cast<JpegReader*>(jpeg->client_data); }

  static void give_up(j_common_ptr jpeg, const char* message) {
    JpegReader* reader = self(jpeg);
    std::snprintf(reader->message_, sizeof reader->message_, "%s", message);
    std::longjmp(reader->escape_, 1);
  }

  static void on_error(j_common_ptr jpeg) {
    char message[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, message);
    give_up(jpeg, message);
  }

  /// Warnings after which pixels are wrong are errors here; others (bytes between segments, odd version numbers)
  /// are not.
  static void on_message(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    const int code = jpeg->err->msg_code;
    if (code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_MUST_RESYNC ||
        code == JWRN_ARITH_BAD_CODE)
      on_error(jpeg);
  }

  static boolean on_end_of_file(j_decompress_ptr jpeg) {
    give_up(reinterpret_cast<j_common_ptr>(jpeg), "the file is truncated");
    return FALSE;
  }

  static void on_skip(j_decompress_ptr jpeg, long count) {
    if (count <= 0) return;
    const auto bytes = static_cast<std::size_t>(count);
    if (bytes > jpeg->src->bytes_in_buffer) on_end_of_file(jpeg);
    jpeg->src->next_input_byte += bytes;
    jpeg->src->bytes_in_buffer -= bytes;
  }

  static void on_progress(j_common_ptr jpeg) {
    if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > kMaxScans)
      give_up(jpeg, "it has too many scans");
  }

  /// CMYK in JPEG is stored as Photoshop does, inverted; conversion without a colour profile, as in Pillow.
  static void cmyk_to_rgb(const std::uint8_t* inverted, std::size_t pixels, std::uint8_t* rgb) {
    for (std::size_t i = 0; i < pixels; ++i) {
      const unsigned white = inverted[4 * i + 3];
      for (std::size_t c = 0; c < 3; ++c)
        rgb[3 * i + c] = static_cast<std::uint8_t>(white - scale_255(255u - inverted[4 * i + c], white));
    }
  }

  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf escape_;
  char message_[JMSG_LENGTH_MAX] = "";
};

}  // namespace

DecodedImage decode_jpeg(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits) {
  JpegReader reader(file);
  WAN_CHECK(reader.read_header(), kBadFile, "[image] {}: not a readable JPEG file: {}; {}", name,
            reader.message(), kSaveAgain);
  check_image_size(reader.width(), reader.height(), name, limits);
  const int components = reader.components();
  WAN_CHECK(components == 1 || components == 3 || components == 4, kBadFile,
            "[image] {}: expected a JPEG with 1, 3 or 4 components, got {}; {}", name, components,
            kSaveAgain);
  DecodedImage decoded{make_image(static_cast<int>(reader.width()), static_cast<int>(reader.height())),
                       reader.orientation()};
  std::vector<std::uint8_t> cmyk_row(components == 4 ? static_cast<std::size_t>(reader.width()) * 4 : 0);
  WAN_CHECK(reader.read_pixels(decoded.image.rgb.data(), cmyk_row.data()), kBadFile,
            "[image] {}: the JPEG does not decode: {}; {}", name, reader.message(), kSaveAgain);
  return decoded;
}

}  // namespace wan
