// A build without FFmpeg says so early, and says what to use instead.

#include <gtest/gtest.h>

#include "media/mp4_writer.h"
#include "media/output.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace wan {
namespace {

TEST(Mp4Stub, RefusesAndNamesTheAlternatives) {
  const test::TempFolder folder;
  const VideoFormat format{.width = 16, .height = 16, .fps = 16, .frame_count = 1};
  for (const char* part : {"_%05d.png", ".npy", "FFmpeg"}) {
    test::expect_error(ErrorCode::kUnsupported, part, [&] { check_output_writable(folder / "a.mp4", 1); });
    test::expect_error(ErrorCode::kUnsupported, part, [&] { make_frame_sink(folder / "a.mp4", format, {}); });
  }
  EXPECT_EQ(folder.count(), 0);
}

}  // namespace
}  // namespace wan
