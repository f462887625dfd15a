// Several ranks on one video, on as many GPUs as there are and, where those are too few, several on one: latents and frames of one rank.

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "backends/cuda/cuda_backend.h"
#include "engine/engine_internals.h"
#include "kept/saved_latents.h"
#include "media/npy.h"
#include "parallel/local/local_communicator.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/temp_folder.h"

namespace wan::test {
namespace {

constexpr double kFp32 = 2e-5;  // the order of sums
constexpr double kBf16 = 4e-2;  // of a whole run, as another order of sums in bf16 moves it

struct Made {
  Tensor latents;
  Tensor frames;  // in [-1, 1]
};

struct Way {
  int ranks = 1;
  std::string guidance_parallel = "off";
  std::string p2p = "auto";
};

std::vector<std::unique_ptr<Backend>> make_backends(int ranks) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (int rank = 0; rank < ranks; ++rank)
    backends.push_back(make_cuda_backend({.device = rank % cuda_device_count(), .tf32_convolutions = false}));
  return backends;
}

GenerationRequest request_in(const std::filesystem::path& folder) {
  GenerationRequest request;
  request.task = "t2v-A14B";
  request.prompt = "a red circle moves right on a blue background";
  request.size = VideoSize{128, 112};
  request.frame_num = 13;
  request.sample_steps = 4;
  request.seed = 1;
  request.save_file = folder / "frame_%05d.png";
  request.save_latents = folder / "latents.safetensors";
  return request;
}

Made make(Engine& engine, GenerationRequest request, const std::string& name) {
  request.dump_dir = request.save_file.parent_path() / name;
  engine.generate(request);
  SavedLatents saved = load_latents(request.save_latents);
  const NpyFile file(request.dump_dir / "frames_float.npy");
  const std::vector<float> values = file.view().values<float>();
  Made made{std::move(saved.slots.front()),
            Tensor(DType::kF32, Shape(std::span<const std::int64_t>(file.view().shape)))};
  std::copy(values.begin(), values.end(), made.frames.as<float>());
  return made;
}

Made make(const Way& way, const std::string& precision, const std::filesystem::path& folder) {
  Engine engine = make_engine({.ckpt_dir = source_path("models/demo"),
                               .guidance_parallel = way.guidance_parallel,
                               .p2p = way.p2p,
                               .precision = precision},
                              make_backends(way.ranks));
  return make(engine, request_in(folder),
              fmt::format("{}-{}-{}-{}", precision, way.ranks, way.guidance_parallel, way.p2p));
}

void expect_same(const Made& made, const Made& alone, double tolerance) {
  EXPECT_TRUE(all_close(made.latents, alone.latents, tolerance));
  EXPECT_TRUE(all_close(made.frames, alone.frames, tolerance));
}

// The VAE is in fp32 both times: frames are as close as the latents that they are made from.
TEST(Ranks, MakeTheLatentsAndFramesOfOne) {
  const TempFolder folder;
  for (const auto& [precision, tolerance] : {std::pair("fp32", kFp32), std::pair("bf16", kBf16)}) {
    const Made alone = make({}, precision, folder.path());
    for (int ranks = 2; ranks <= 4; ++ranks)
      for (const std::string halves : {"off", "on"}) {
        if (halves == "on" && ranks % 2 != 0) continue;
        SCOPED_TRACE(fmt::format("{}, {} ranks on {} GPUs, guidance parallel {}", precision, ranks,
                                 cuda_device_count(), halves));
        expect_same(make({ranks, halves}, precision, folder.path()), alone, tolerance);
      }
  }
}

TEST(Ranks, CountHowLongTheirWorkWaits) {
  constexpr std::int64_t kBytes = std::int64_t{1} << 29;
  constexpr int kCopies = 200;  // 40 ms and more of any GPU
  const std::vector<std::unique_ptr<Backend>> backends = make_backends(2);
  Backend& busy = *backends[0];
  Backend& waiting = *backends[1];
  const Tensor from(busy.allocator(), DType::kU8, {kBytes});
  const Tensor to(busy.allocator(), DType::kU8, {kBytes});
  busy.synchronize();
  for (int i = 0; i < kCopies; ++i) busy.copy_from(from, to);
  const auto start = std::chrono::steady_clock::now();
  waiting.wait_for(*busy.mark_work());
  EXPECT_EQ(waiting.waited_seconds(), 0) << "it still waits";
  waiting.synchronize();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double waited = waiting.waited_seconds();
  EXPECT_GT(waited, 0.5 * seconds);
  EXPECT_LT(waited, 1.1 * seconds);
  waiting.wait_for(*busy.mark_work());
  waiting.synchronize();
  EXPECT_LT(waiting.waited_seconds() - waited, 0.01) << "there is nothing to wait for any more";
  EXPECT_EQ(busy.waited_seconds(), 0);
}

TEST(Ranks, ExchangeThroughTheHost) {
  const TempFolder folder;
  const Made alone = make({}, "fp32", folder.path());
  for (const std::string halves : {"off", "on"})
    expect_same(make({2, halves, "off"}, "fp32", folder.path()), alone, kFp32);
}

/// What one of two ranks, on a GPU that is busy, sends and gets: numbers that say rank, exchange and place.
class BusyRank {
 public:
  BusyRank(Backend& backend, Communicator& ranks) : backend_(backend), ranks_(ranks) {}

  /// Writes what is sent behind much work, exchanges it beside work, and looks at what came. Nothing of an earlier or later exchange.
  void exchange(int number) {
    const Tensor wrong(DType::kF32, sent_.shape());
    std::fill_n(wrong.as<float>(), wrong.elements(), -1.0f);
    const Tensor staged = on_device(values(ranks_.rank(), number));
    const Tensor poison = on_device(wrong);
    work();
    backend_.copy_from(staged, sent_);
    const TensorView send[] = {half(sent_, 0), half(sent_, 1)};
    const TensorView recv[] = {half(got_, 0), half(got_, 1)};
    const auto pending = ranks_.begin_all_to_all(send, recv);
    work();
    pending->finish();
    backend_.copy_from(got_, result_);
    backend_.copy_from(poison, sent_);
    backend_.copy_from(poison, got_);
    const Tensor back(DType::kF32, result_.shape());
    backend_.download(result_, back);
    for (int from = 0; from < 2; ++from) {
      const Tensor expected = values(from, number);
      for (std::int64_t row = 0; row < kRows; ++row)
        for (std::int64_t i = 0; i < kWidth; ++i)
          ASSERT_EQ(back.as<float>()[(row * 2 + from) * kWidth + i],
                    expected.as<float>()[(row * 2 + ranks_.rank()) * kWidth + i])
              << "exchange " << number << ", from " << from << ", row " << row;
    }
  }

 private:
  static constexpr std::int64_t kRows = 4096;
  static constexpr std::int64_t kWidth = 512;

  static Tensor values(int rank, int number) {
    Tensor made(DType::kF32, {kRows, 2, kWidth});
    for (std::int64_t i = 0; i < made.elements(); ++i)
      made.as<float>()[i] = static_cast<float>((i * 7 + rank * 1000003 + number * 10007) % 8191);
    return made;
  }
  static TensorView half(const Tensor& tensor, int peer) { return tensor.view().slice(1, peer, peer + 1); }
  Tensor on_device(const Tensor& host) {
    Tensor there(backend_.allocator(), DType::kF32, host.shape());
    backend_.upload(host, there);
    return there;
  }
  /// Some milliseconds of it, other for each rank.
  void work() {
    for (int i = 0; i < 10 + 30 * ranks_.rank(); ++i) backend_.copy_from(noise_, more_noise_);
  }

  Backend& backend_;
  Communicator& ranks_;
  Tensor sent_{backend_.allocator(), DType::kF32, {kRows, 2, kWidth}};
  Tensor got_{backend_.allocator(), DType::kF32, sent_.shape()};
  Tensor result_{backend_.allocator(), DType::kF32, sent_.shape()};
  Tensor noise_{backend_.allocator(), DType::kU8, {std::int64_t{1} << 28}};
  Tensor more_noise_{backend_.allocator(), DType::kU8, noise_.shape()};
};

TEST(Ranks, ExchangeBesideTheirWork) {
  for (const Links links : {Links::kAuto, Links::kHost}) {
    const std::vector<std::unique_ptr<Backend>> backends = make_backends(2);
    ComputeDevice* const devices[] = {backends[0].get(), backends[1].get()};
    const auto communicators = make_local_communicators(devices, kRankTimeout, links);
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < 2; ++rank)
      threads.emplace_back([&, rank] {
        BusyRank busy(*backends[rank], *communicators[rank]);
        for (int number = 0; number < 20; ++number) busy.exchange(number);
        communicators[rank]->barrier();
      });
    for (std::thread& thread : threads) thread.join();
  }
}

/// Bytes in which not all blocks can be divided; 0 where nothing less than all of them fits.
std::int64_t limit_for_some(EngineOptions options, const GenerationRequest& request, int ranks) {
  const MemoryPlan all = make_engine(options, make_backends(ranks)).plan(request);
  try {
    for (options.memory_limit = all.peak;;) {
      options.memory_limit -= all.transformers / 64;
      const MemoryPlan plan = make_engine(options, make_backends(ranks)).plan(request);
      if (plan.sharded_blocks > 0 && plan.sharded_blocks < all.sharded_blocks) return options.memory_limit;
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kOutOfMemory) throw;
    return 0;
  }
}

// The same kernels on the same values, whichever memory they came from.
TEST(Ranks, ThatDivideWeightsMakeTheSameLatents) {
  const TempFolder folder;
  GenerationRequest request = request_in(folder.path());
  request.size = VideoSize{32, 32};  // so that blocks are the most of what is in memory
  request.frame_num = 1;
  int divided_some = 0;
  for (const char* precision : {"fp32", "bf16"})
    for (int ranks = 2; ranks <= 4; ++ranks) {
      Engine without =
          make_engine({.ckpt_dir = source_path("models/demo"), .precision = precision}, make_backends(ranks));
      const Tensor whole = make(without, request, "whole").latents;
      for (const bool keep : {false, true})
        for (const bool some : {false, true}) {  // of the blocks
          EngineOptions options{.ckpt_dir = source_path("models/demo"),
                                .dit_fsdp = true,
                                .t5_fsdp = true,
                                .precision = precision,
                                .keep_models = keep};
          if (some) {
            options.memory_limit = limit_for_some(options, request, ranks);
            if (options.memory_limit == 0) continue;
            ++divided_some;
          }
          std::vector<std::unique_ptr<Backend>> backends = make_backends(ranks);
          const Backend& first = *backends.front();
          Engine engine = make_engine(options, std::move(backends));
          const MemoryPlan plan = engine.plan(request);
          for (int video = 0; video < 2; ++video)
            EXPECT_TRUE(all_close(make(engine, request, "divided").latents, whole, 0))
                << precision << ", " << ranks << " ranks, video " << video << ": " << to_string(plan);
          EXPECT_LE(first.memory_use().peak, (plan.peak - plan.program) * 101 / 100) << to_string(plan);
        }
    }
  EXPECT_GT(divided_some, 0);
}

}  // namespace
}  // namespace wan::test
