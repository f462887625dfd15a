// Names of outputs, frame rates, and the thread that encodes.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "media/frame_pattern.h"
#include "media/frame_rate.h"
#include "media/mp4_writer.h"
#include "media/output.h"
#include "media/threaded_sink.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace wan {
namespace {

using test::expect_error;
using test::TempFolder;

TEST(Output, KindsFollowTheName) {
  EXPECT_EQ(classify_output("a/b.mp4", 81), OutputKind::kMp4);
  EXPECT_EQ(classify_output("B.MP4", 1), OutputKind::kMp4);
  EXPECT_EQ(classify_output("100%.mp4", 1), OutputKind::kMp4);
  EXPECT_EQ(classify_output("still.png", 1), OutputKind::kPngStill);
  EXPECT_EQ(classify_output("d/f_%05d.png", 81), OutputKind::kPngSequence);
  EXPECT_EQ(classify_output("%d.PNG", 1), OutputKind::kPngSequence);
}

TEST(Output, WrongNamesAreRefusedWithWhatWouldBeRight) {
  const auto refused = [](const std::string& part, const char* path, int frames) {
    expect_error(ErrorCode::kInvalidArgument, part, [&] { classify_output(path, frames); });
  };
  refused("got .avi", "a.avi", 1);
  refused(".mp4 (video), .png (one frame) or like _%05d.png", "a.webm", 1);
  refused("no extension", "folder.mp4/a", 1);
  refused("name it still_%05d.png", "x/still.png", 2);
  refused("at least one frame", "a.mp4", 0);
  refused("more than one", "a_%05d_%d.png", 2);
  refused("begins neither", "a_%5d.png", 2);
  refused("begins neither", "a_%05x.png", 2);
  refused("begins neither", "a_%012d.png", 2);
  refused("begins neither", "a_%.png", 1);
  refused("got none", "a_%%.png", 1);
  refused("exactly one frame number", "a_%s.png", 2);
}

TEST(Output, PatternsNameTheirFrames) {
  EXPECT_EQ(FramePattern("d%d/f_%05d.png").name(7), "d%d/f_00007.png");
  EXPECT_EQ(FramePattern("%d.png").name(123), "123.png");
  EXPECT_EQ(FramePattern("100%%_%03d{}.png").name(1234), "100%_1234{}.png");
}

TEST(Output, WritabilityIsCheckedEarlyAndLeavesNothing) {
  const TempFolder folder;
  EXPECT_NO_THROW(check_output_writable(folder / "a.png", 1));
  EXPECT_NO_THROW(check_output_writable(folder / "a_%05d.png", 81));
  expect_error(ErrorCode::kInvalidArgument, "does not exist",
               [&] { check_output_writable(folder / "missing" / "a.png", 1); });
  expect_error(ErrorCode::kInvalidArgument, "does not exist",
               [&] { check_output_writable(folder / "missing" / "%d.png", 1); });
  std::filesystem::create_directory(folder / "a_2.png");
  expect_error(ErrorCode::kInvalidArgument, "it is a folder",
               [&] { check_output_writable(folder / "a_%d.png", 3); });
  expect_error(ErrorCode::kInvalidArgument, "longer than 255",
               [&] { check_output_writable(folder / (std::string(250, 'x') + "%05d.png"), 3); });
  EXPECT_EQ(folder.count(), 1);
}

/// False of an .mp4 in a build without FFmpeg.
bool is_written(const std::filesystem::path& path) {
  if (path.extension() != ".mp4") return true;
  try {
    check_mp4_supported({});
    return true;
  } catch (const Error&) {
    return false;
  }
}

TEST(Output, OnlyFilesAreReplaced) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const char* name : {"a.png", "a.mp4", "f_1.png"})
    std::filesystem::create_symlink("pipe", folder / name);
  for (const auto& output : {std::pair{"a.png", 1}, {"a.mp4", 2}, {"f_%d.png", 3}}) {
    const std::filesystem::path path = folder / output.first;
    const int frames = output.second;
    if (!is_written(path)) continue;
    expect_error(ErrorCode::kInvalidArgument, "it is a pipe", [&] { check_output_writable(path, frames); });
    const VideoFormat format{.width = 32, .height = 32, .fps = 8, .frame_count = frames};
    const std::vector<std::uint8_t> frame(32 * 32 * 3);
    expect_error(ErrorCode::kIo, "it is a pipe", [&] {
      const auto sink = make_frame_sink(path, format, {});
      for (int i = 0; i < frames; ++i) sink->write(frame.data());
      sink->finish();
    });
  }
  EXPECT_EQ(folder.count(), 4);
  EXPECT_TRUE(std::filesystem::is_fifo(folder / "pipe"));
}

TEST(Output, SinksHoldTheNumberOfFrames) {
  const TempFolder folder;
  const VideoFormat format{.width = 2, .height = 2, .fps = 8, .frame_count = 2};
  const std::vector<std::uint8_t> frame(12);
  {
    const auto sink = make_frame_sink(folder / "%d.png", format, {});
    sink->write(frame.data());
    expect_error(ErrorCode::kInternal, "1 frames early", [&] { sink->finish(); });
    sink->write(frame.data());
    expect_error(ErrorCode::kInternal, "more frames", [&] { sink->write(frame.data()); });
  }
  EXPECT_EQ(folder.count(), 0);
}

TEST(FrameRateTest, RatesAreExactFractions) {
  const auto expect_rate = [](double fps, int numerator, int denominator) {
    const FrameRate rate = frame_rate_of(fps);
    EXPECT_EQ(rate.numerator, numerator) << fps;
    EXPECT_EQ(rate.denominator, denominator) << fps;
  };
  expect_rate(16, 16, 1);
  expect_rate(24, 24, 1);
  expect_rate(23.976, 24000, 1001);
  expect_rate(23.98, 24000, 1001);
  expect_rate(29.97, 30000, 1001);
  expect_rate(30000.0 / 1001, 30000, 1001);
  expect_rate(12.5, 25, 2);
  expect_rate(0.5, 1, 2);
  for (const double fps : {0.0, -16.0, 1001.0, std::numeric_limits<double>::quiet_NaN()}) {
    expect_error(ErrorCode::kInvalidArgument, "frame rate", [&] { frame_rate_of(fps); });
  }
}

/// What a sink has been through; the sink itself waits for a permit before each frame.
struct Journal {
  std::vector<int> frames;
  std::atomic<int> finished = 0;
  std::counting_semaphore<> permits{0};
  int fail_at = -1;  // the frame that throws; 100: finish() does
};

class JournalSink final : public FrameSink {
 public:
  explicit JournalSink(Journal& journal) : journal_(journal) {}
  void write(const std::uint8_t* rgb) override {
    journal_.permits.acquire();
    if (journal_.fail_at == rgb[0]) fail(ErrorCode::kIo, "cannot write f: full at {}", rgb[0]);
    journal_.frames.push_back(rgb[0]);
  }
  void finish() override {
    if (journal_.fail_at == 100) fail(ErrorCode::kIo, "cannot write f: full at the end");
    ++journal_.finished;
  }

 private:
  Journal& journal_;
};

std::vector<std::uint8_t> frame_number(int number) {
  return std::vector<std::uint8_t>(16, static_cast<std::uint8_t>(number));
}

TEST(ThreadedSink, FramesArriveInOrderAndFinishWaits) {
  Journal journal;
  journal.permits.release(20);
  const auto sink = make_threaded_sink(std::make_unique<JournalSink>(journal), 16, 3);
  std::vector<int> expected;
  for (int i = 0; i < 20; ++i) {
    std::vector<std::uint8_t> frame = frame_number(i);
    sink->write(frame.data());
    frame.assign(16, 99);  // the caller may use its memory again at once
    expected.push_back(i);
  }
  sink->finish();
  EXPECT_EQ(journal.frames, expected);
  EXPECT_EQ(journal.finished, 1);
}

TEST(ThreadedSink, TheQueueIsBounded) {
  Journal journal;
  const auto sink = make_threaded_sink(std::make_unique<JournalSink>(journal), 16, 3);
  std::atomic<int> written = 0;
  std::thread producer([&] {
    for (int i = 0; i < 10; ++i, ++written) sink->write(frame_number(i).data());
  });
  // One frame at the encoder and three in the queue; the fifth write waits.
  while (written < 4) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(written, 4);
  journal.permits.release(10);
  producer.join();
  sink->finish();
  EXPECT_EQ(journal.frames.size(), 10u);
}

TEST(ThreadedSink, ErrorsReachTheCaller) {
  Journal journal;
  journal.fail_at = 2;
  journal.permits.release(20);
  const auto sink = make_threaded_sink(std::make_unique<JournalSink>(journal), 16, 3);
  expect_error(ErrorCode::kIo, "full at 2", [&] {
    for (int i = 0; i < 20; ++i) sink->write(frame_number(i).data());
  });
  expect_error(ErrorCode::kIo, "full at 2", [&] { sink->finish(); });
  EXPECT_EQ(journal.finished, 0);

  Journal last;
  last.fail_at = 100;
  last.permits.release(1);
  const auto other = make_threaded_sink(std::make_unique<JournalSink>(last), 16, 3);
  other->write(frame_number(0).data());
  expect_error(ErrorCode::kIo, "at the end", [&] { other->finish(); });
}

TEST(ThreadedSink, DestructionDropsWhatWaits) {
  Journal journal;
  journal.permits.release(1);
  std::thread late;
  {
    const auto sink = make_threaded_sink(std::make_unique<JournalSink>(journal), 16, 3);
    for (int i = 0; i < 4; ++i) sink->write(frame_number(i).data());
    late = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      journal.permits.release(1);
    });
  }
  late.join();
  EXPECT_LE(journal.frames.size(), 2u);
  EXPECT_EQ(journal.finished, 0);
}

}  // namespace
}  // namespace wan
