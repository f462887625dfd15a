// wan doctor: estimates against what was measured, GPUs by their names, links of devices that no machine has, and what is said of faults.

#include "wan/doctor.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <set>

#include "doctor/diagnosis.h"
#include "doctor/disk_speed.h"
#include "doctor/host_facts.h"
#include "doctor/link_tests.h"
#include "ops/counting_backend.h"
#include "published/benchmark_internals.h"
#include "published/layouts.h"
#include "published/time_estimate.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "tasks/official_models.h"
#include "tasks/task_table.h"

namespace wan::test {
namespace {

PassWork published_work(const char* task, const VideoSize& size, int frames) {
  const Task& known = find_task(task);
  return pass_work(known.published_transformer(), official_latent(known, size, frames));
}

GpuRates rates_named(const char* gpu, GpuLink link) {
  return rates_of(known_gpu("`pretend`", gpu), link);
}

// docs/performance.md, H200s: of two machines the mean where both were measured.
TEST(TimeEstimate, IsWhatWasMeasured) {
  const GpuRates h200 = rates_named("H200", GpuLink::kNvlink);
  EXPECT_NEAR(pass_seconds(published_work("t2v-A14B", {832, 480}, 81), h200), 2.36, 0.08);
  EXPECT_NEAR(pass_seconds(published_work("t2v-A14B", {1280, 720}, 81), h200), 8.93, 0.2);
  EXPECT_NEAR(pass_seconds(published_work("ti2v-5B", {1280, 704}, 121), h200), 0.74, 0.05);
  // Two of them, a step of both passes.
  const PassWork work = published_work("t2v-A14B", {1280, 720}, 81);
  EXPECT_NEAR(step_seconds(work, {.ranks = {.sequence = 2}}, h200).all(), 9.22, 0.3);
  EXPECT_NEAR(vae_seconds(VaeKind::kVae21, 640'000'000'000'000, h200), 3.24, 0.1);
  const auto of_b200s = [&](int gpus) {
    return 2.72 * vae_seconds(VaeKind::kVae21, 1, h200, gpus) / vae_seconds(VaeKind::kVae21, 1, h200);
  };
  EXPECT_NEAR(of_b200s(2), 1.72, 0.1);
  EXPECT_NEAR(of_b200s(4), 1.04, 0.1);
  EXPECT_NEAR(of_b200s(8), 0.83, 0.1);
  EXPECT_NEAR(vae_seconds(VaeKind::kVae22, 2'010'000'000'000'000, h200), 6.57, 0.1);
}

TEST(TimeEstimate, WorkIsWhatTheOpsCount) {
  for (const auto& [task, size, frames] :
       {std::tuple("t2v-A14B", VideoSize{832, 480}, 81), std::tuple("i2v-A14B", VideoSize{832, 480}, 81),
        std::tuple("ti2v-5B", VideoSize{1280, 704}, 121)}) {
    const BenchmarkResult counted = run_benchmark(
        {.task = task, .size = size, .frame_num = frames, .phases = {"forward"}, .repeats = 1, .warmup = 0},
        [] {
          std::vector<std::unique_ptr<Backend>> one;
          one.push_back(
              std::make_unique<CountingBackend>(Device{DeviceKind::kCuda, 0}, std::int64_t{1} << 40));
          return one;
        },
        {});
    const PassWork work = published_work(task, size, frames);
    EXPECT_NEAR((work.attention_flops + work.product_flops) / static_cast<double>(counted.rows[0].flops), 1.0,
                0.005)
        << task;
  }
}

TEST(TimeEstimate, OfTwoA40s) {
  const GpuRates a40 = rates_named("A40", GpuLink::kPcie);
  const PassWork work = published_work("t2v-A14B", {1280, 720}, 81);
  // 4.682 PFLOP / 105 TF/s + 1.84 / 115 + 0.93 TB / 0.60 TB/s
  const double pass = pass_seconds(work, a40);
  EXPECT_NEAR(pass, 62.2, 0.5);
  EXPECT_NEAR(exchanged_bytes(work, 2) * 1e-9, 31.0, 0.1);
  EXPECT_EQ(exchanged_bytes(work, 1), 0);
  const StepSeconds halves = step_seconds(work, {.ranks = {.groups = 2}}, a40);
  EXPECT_DOUBLE_EQ(halves.all(), pass);
  const StepSeconds divided = step_seconds(work, {.ranks = {.sequence = 2}}, a40);
  EXPECT_DOUBLE_EQ(divided.computing, pass);
  EXPECT_NEAR(divided.exchanging, 2 * 31.0 / 22, 0.05);
  EXPECT_NEAR(step_seconds(work, {.ranks = {.sequence = 2}}, rates_named("A40", GpuLink::kNvlink)).exchanging,
              2 * 31.0 / 30.2, 0.05);
  // Of sharded blocks a half is gathered, 16 ms beside 1.5 s of computing.
  EXPECT_EQ(step_seconds(work, {.ranks = {.groups = 2}, .sharded = true}, a40).waiting, 0);
}

TEST(TimeEstimate, WaitsForWeightsThatTakeLongerThanComputing) {
  const PassWork work = published_work("t2v-A14B", {832, 480}, 5);  // few tokens
  const GpuRates a40 = rates_named("A40", GpuLink::kHost);
  const StepSeconds resident = step_seconds(work, {.ranks = {.groups = 2}}, a40);
  const StepSeconds sharded = step_seconds(work, {.ranks = {.groups = 2}, .sharded = true}, a40);
  const StepSeconds streamed = step_seconds(work, {.ranks = {.groups = 2}, .streamed = 1}, a40);
  EXPECT_EQ(resident.waiting, 0);
  EXPECT_NEAR(sharded.all(), 40 * 0.7027 / 2 / 10, 0.01);
  EXPECT_NEAR(streamed.all(), 40 * 0.7027 * 2 / 17.4, 0.02);
  EXPECT_LT(step_seconds(work, {.ranks = {.groups = 2}, .streamed = 0.5}, a40).all(), streamed.all());
}

TEST(TimeEstimate, CountsTheRankWithMostHeads) {
  const GpuRates h200 = rates_named("H200", GpuLink::kNvlink);
  PassWork work = published_work("t2v-A14B", {1280, 720}, 81);
  work.product_flops = work.memory_bytes = 0;
  // 14 of 40 heads on the first of 3 ranks.
  EXPECT_NEAR(step_seconds(work, {.ranks = {.sequence = 3}}, h200).computing,
              2 * pass_seconds(work, h200) * 14 / 40, 1e-9);
}

TEST(Pretended, IsParsed) {
  const GpuSet two = parse_pretended("A40 x2");
  EXPECT_EQ(two.count, 2);
  EXPECT_EQ(two.memory, std::int64_t{46068} << 20);
  EXPECT_EQ(two.link, GpuLink::kPcie);
  EXPECT_EQ(describe(two), "2 x A40, 48.3 GB each, linked by PCIe");
  EXPECT_EQ(parse_pretended("a40  X2 NVLink").link, GpuLink::kNvlink);
  EXPECT_EQ(parse_pretended("A40 x2 host").link, GpuLink::kHost);
  EXPECT_EQ(parse_pretended("RTX 4090").count, 1);
  EXPECT_EQ(parse_pretended("NVIDIA A100 80GB PCIe x4").name, "A100-80GB");
  EXPECT_EQ(parse_pretended("H200 x8").link, GpuLink::kNvlink);
}

TEST(Pretended, IsRefusedWithTheRemedy) {
  const auto refuse = [](const char* text, const char* part) {
    expect_error(ErrorCode::kInvalidArgument, part, [&] { parse_pretended(text); });
  };
  refuse("Voodoo x2", "`pretend` Voodoo: expected one of RTX 3060, ");
  refuse("x2", "expected a GPU and how many, such as A40 x2");
  refuse("A40 x2 twisted", "expected nvlink, pcie or host, got twisted");
  refuse("A40 x2 pcie nvlink", "got nvlink");
  refuse("A40 x65", "at most 64 GPUs");
  refuse("RTX 4090 x2 nvlink", "RTX 4090 has no NVLink; say pcie or host");
}

TEST(KnownGpus, AreFoundByTheDriversNames) {
  const auto name_of = [](const char* shown) {
    const KnownGpu* const gpu = find_known_gpu(shown);
    return gpu == nullptr ? std::string_view("none") : gpu->name;
  };
  EXPECT_EQ(name_of("NVIDIA H100 80GB HBM3"), "H100");
  EXPECT_EQ(name_of("NVIDIA H100 PCIe"), "H100");
  EXPECT_EQ(name_of("NVIDIA H200"), "H200");
  EXPECT_EQ(name_of("NVIDIA A100-SXM4-40GB"), "A100-40GB");
  EXPECT_EQ(name_of("NVIDIA A40"), "A40");
  EXPECT_EQ(name_of("NVIDIA RTX A6000"), "RTX A6000");
  EXPECT_EQ(name_of("NVIDIA RTX 6000 Ada Generation"), "RTX 6000 Ada");
  EXPECT_EQ(name_of("NVIDIA RTX PRO 6000 Blackwell Workstation Edition"), "RTX PRO 6000");
  EXPECT_EQ(name_of("NVIDIA GeForce RTX 3080 12GB"), "none");  // the known one has 10
  EXPECT_EQ(name_of("Tesla V100"), "none");
}

TEST(Layouts, OfTwoA40s) {
  const DoctorVideo video = plan_layouts({"t2v-A14B", {1280, 720}}, parse_pretended("A40 x2"));
  EXPECT_EQ(video.tokens, 75600);
  std::set<std::string> ways;
  std::map<int, int> best;
  for (const DoctorLayout& layout : video.layouts) {
    ways.insert(std::to_string(layout.gpus) + (layout.guidance_parallel ? " guidance " : " ") +
                layout.weights);
    best[layout.gpus] += layout.best ? 1 : 0;
    EXPECT_LE(layout.peak, layout.available);
    EXPECT_GT(layout.step_seconds, 0);
    EXPECT_FALSE(layout.arithmetic.empty());
    if (layout.best && layout.gpus == 2) {
      EXPECT_TRUE(layout.guidance_parallel);
      EXPECT_EQ(layout.weights, "sharded");
      EXPECT_NEAR(layout.step_seconds, video.pass_seconds, 1e-9);
    }
    // 14.05 GB of each expert's 28.1, and two places.
    if (layout.weights == "sharded") {
      EXPECT_NEAR(static_cast<double>(layout.weight_bytes) * 1e-9, 31.4, 0.5);
    }
  }
  EXPECT_EQ(best, (std::map<int, int>{{1, 1}, {2, 1}}));
  EXPECT_EQ(ways, (std::set<std::string>{"1 as many as fit", "1 streamed", "2 as many as fit",
                                         "2 guidance as many as fit", "2 guidance sharded",
                                         "2 guidance streamed", "2 sharded", "2 streamed"}));
}

TEST(Layouts, OfAGpuThatIsNotKnownHaveNoTimes) {
  const DoctorVideo video =
      plan_layouts({"ti2v-5B", {1280, 704}}, {.name = "Card", .memory = 24'000'000'000});
  ASSERT_FALSE(video.layouts.empty());
  EXPECT_EQ(video.layouts[0].step_seconds, 0);
  EXPECT_TRUE(video.arithmetic.empty());
}

/// Host memory that calls itself a device's, with faults.
class FaultyDevice final : public ComputeDevice {
 public:
  explicit FaultyDevice(int index) : index_(index) {}
  const char* name() const override { return "faulty"; }
  Device device() const override { return {DeviceKind::kCpu, index_}; }
  Allocator& allocator() override { return cpu_allocator(); }
  void synchronize() override {}
  void upload(const TensorView& host, const TensorView& device) override {
    std::memcpy(device.data(), host.data(), host.bytes());
  }
  void download(const TensorView& device, const TensorView& host) override { upload(device, host); }
  void share_memory_with(const ComputeDevice&) override {
    WAN_CHECK(shares, kUnsupported, "they have no direct link");
  }
  void copy_from(const TensorView& from, const TensorView& to) override {
    ++copies;
    copy_rows(row_copy(from, to));
    if (corrupts && from.data() != to.data()) to.data()[to.bytes() - 3] ^= std::byte{4};
    WAN_CHECK(!fails, kDevice, "the link is down");
  }

  bool shares = true;
  bool corrupts = false;
  bool fails = false;
  std::atomic<int> copies{0};

 private:
  int index_;
};

constexpr std::int64_t kFew = 100'003;

TEST(LinkTests, CompareWhatArrives) {
  FaultyDevice first(0);
  FaultyDevice second(1);
  DoctorPair pair = measure_pair(first, second, kFew);
  EXPECT_EQ(std::pair(pair.from, pair.to), std::pair(0, 1));
  EXPECT_TRUE(pair.equal);
  EXPECT_GT(pair.bytes_per_second, 0);
  EXPECT_TRUE(pair.failure.empty());
  second.corrupts = true;  // one bit of all
  EXPECT_FALSE(measure_pair(first, second, kFew).equal);
  second.fails = true;
  EXPECT_EQ(measure_pair(first, second, kFew).failure, "the link is down");
  EXPECT_GT(measure_upload(first, kFew), 0);
}

TEST(LinkTests, GoByWayOfTheHostWithoutPeerAccess) {
  FaultyDevice first(0);
  FaultyDevice second(1);
  first.shares = false;
  const DoctorPair pair = measure_pair(first, second, kFew);
  EXPECT_TRUE(pair.equal);
  EXPECT_GT(pair.bytes_per_second, 0);
  EXPECT_EQ(second.copies, 0);
}

TEST(LinkTests, ExchangeBetweenAll) {
  FaultyDevice devices[] = {FaultyDevice(0), FaultyDevice(1), FaultyDevice(2)};
  ComputeDevice* const all[] = {&devices[0], &devices[1], &devices[2]};
  DoctorExchange exchange = test_exchange(all, Links::kAuto, kFew);
  EXPECT_EQ(exchange.ranks, 3);
  EXPECT_TRUE(exchange.equal);
  EXPECT_GT(exchange.bytes_per_second, 0);
  devices[1].corrupts = true;
  EXPECT_FALSE(test_exchange(all, Links::kAuto, kFew).equal);
  devices[1].fails = true;
  exchange = test_exchange(all, Links::kAuto, kFew);
  EXPECT_FALSE(exchange.equal);
  EXPECT_EQ(exchange.failure, "the link is down");
  devices[1].fails = devices[1].corrupts = false;
  devices[2].shares = false;
  EXPECT_EQ(test_exchange(all, Links::kDirect, kFew).failure, "they have no direct link");
  EXPECT_TRUE(test_exchange(all, Links::kAuto, kFew).equal);  // by way of the host
}

TEST(DiskSpeed, ReadsTheLargestFile) {
  const TempFolder folder;
  EXPECT_FALSE(measure_disk(folder.path()).has_value());
  std::filesystem::create_directories(folder / "a/b");
  constexpr std::int64_t kBytes = 9'000'001;  // no multiple of a page
  std::ofstream(folder / "a/b/large") << std::string(kBytes, 'x');
  std::ofstream(folder / "small") << "x";
  const auto speed = measure_disk(folder.path());
  ASSERT_TRUE(speed.has_value());
  EXPECT_EQ(speed->file, folder / "a/b/large");
  EXPECT_EQ(speed->bytes, kBytes);
  EXPECT_GT(speed->bytes_per_second, 0);
  EXPECT_LE(measure_disk(folder.path(), 1 << 20)->bytes, 4 << 20);  // one chunk
  expect_error(ErrorCode::kBadFile, "nowhere", [&] { measure_disk(folder / "nowhere"); });
}

TEST(HostFacts, CountNvidiaCards) {
  const TempFolder folder;
  EXPECT_EQ(count_nvidia_cards(folder.path()), 0);
  const auto device = [&](const char* name, const char* vendor, const char* kind) {
    const std::filesystem::path path = folder / "sys/bus/pci/devices" / name;
    std::filesystem::create_directories(path);
    std::ofstream(path / "vendor") << vendor << "\n";
    std::ofstream(path / "class") << kind << "\n";
  };
  device("0000:01:00.0", "0x10de", "0x030200");
  device("0000:01:00.1", "0x10de", "0x040300");  // its sound
  device("0000:02:00.0", "0x10de", "0x030000");
  device("0000:03:00.0", "0x8086", "0x030000");
  EXPECT_EQ(count_nvidia_cards(folder.path()), 2);
}

TEST(HostFacts, AreThere) {
  const DoctorHost host = host_facts();
  EXPECT_GE(host.processors, 1);
  EXPECT_GT(host.memory, 0);
  EXPECT_GT(host.available, 0);
  EXPECT_FALSE(host.instruction_set.empty());
}

/// A machine of two GPUs on which all is well.
DoctorReport sound_report() {
  DoctorReport report;
  report.host = {.processors = 16,
                 .instruction_set = "avx512",
                 .memory = 64'000'000'000,
                 .available = 60'000'000'000,
                 .codecs = {"h264"}};
  report.cuda = {.built = true,
                 .driver = "580.65.06",
                 .driver_cuda = 13000,
                 .runtime = 13000,
                 .cudnn = 91900,
                 .cudnn_built = 91900,
                 .cards = 2};
  for (const int index : {0, 1})
    report.devices.push_back({.index = index,
                              .name = "NVIDIA A40",
                              .memory = 48'000'000'000,
                              .free = 47'500'000'000,
                              .pcie_width = 16,
                              .pcie_most = 16});
  for (const int index : {0, 1})
    report.pairs.push_back({.from = index,
                            .to = 1 - index,
                            .link = "PCIe, one switch",
                            .peer_access = true,
                            .bytes_per_second = 22e9,
                            .equal = true});
  report.exchange =
      DoctorExchange{.ranks = 2, .devices = "cuda:0, cuda:1", .bytes_per_second = 20e9, .equal = true};
  return report;
}

/// The one finding, with these words in what is wrong and in the remedy.
void expect_finding(const DoctorReport& report, bool advice, ErrorCode code, const char* what,
                    const char* remedy) {
  const std::vector<DoctorProblem> found = diagnose(report);
  ASSERT_EQ(found.size(), 1u) << what;
  EXPECT_EQ(found[0].advice, advice) << found[0].what;
  EXPECT_EQ(found[0].code, code) << found[0].what;
  EXPECT_NE(found[0].what.find(what), std::string::npos) << found[0].what;
  EXPECT_NE(found[0].remedy.find(remedy), std::string::npos) << found[0].remedy;
}

TEST(Diagnosis, OfASoundMachineIsEmpty) {
  EXPECT_TRUE(diagnose(sound_report()).empty());
}

TEST(Diagnosis, OfAMachineWithoutAGpuIsEmpty) {
  DoctorReport report = sound_report();
  report.devices.clear();
  report.pairs.clear();
  report.exchange.reset();
  report.cuda = {};
  EXPECT_TRUE(diagnose(report).empty());
  report.cuda.cards = 2;  // and a build without CUDA
  expect_finding(report, true, ErrorCode::kDevice, "2 NVIDIA cards", "make CUDA=1");
}

TEST(Diagnosis, OfDrivers) {
  DoctorReport report = sound_report();
  report.devices.clear();
  report.pairs.clear();
  report.exchange.reset();
  const auto expect = [&](const char* what, const char* remedy) {
    expect_finding(report, false, ErrorCode::kDevice, what, remedy);
  };
  report.cuda.driver_cuda = 12080;
  report.cuda.reason = "the NVIDIA driver is too old";
  expect("too old", "update the driver to 580 or newer, or build with CUDA 12.8");
  report.cuda.driver_cuda = 0;
  report.cuda.reason = "no NVIDIA driver is loaded";
  expect("no NVIDIA driver", "install NVIDIA's driver 580");
  report.cuda.driver_cuda = 13000;
  report.cuda.reason = "no CUDA device can be used: system not yet initialized (cudaErrorSystemNotReady)";
  expect("SystemNotReady", "nvidia-fabricmanager");
  report.cuda.reason = "the driver shows no CUDA device";
  expect("shows no CUDA device", "dmesg");
  report.host.environment = {{"CUDA_VISIBLE_DEVICES", "7"}};
  expect("shows no CUDA device", "CUDA_VISIBLE_DEVICES is '7'");
}

TEST(Diagnosis, OfCudnn) {
  DoctorReport report = sound_report();
  report.cuda.cudnn = 90100;
  expect_finding(report, false, ErrorCode::kDevice,
                 "cuDNN 9.1.0 is loaded, and this build was made with 9.19.0", "LD_LIBRARY_PATH");
}

TEST(Diagnosis, OfDevices) {
  DoctorReport report = sound_report();
  report.devices[1].unusable = "this build has no code for the compute capability 8.6";
  expect_finding(report, false, ErrorCode::kUnsupported, "compute capability 8.6", "`gpus`");
  report = sound_report();
  report.devices[0].free = 20'000'000'000;
  expect_finding(report, true, ErrorCode::kDevice, "28.0 of the 48.0 GB of cuda:0", "nvidia-smi");
  report = sound_report();
  report.devices[1].pcie_width = 4;
  expect_finding(report, true, ErrorCode::kDevice, "cuda:1 uses 4 of its 16 PCIe lanes", "slot");
}

TEST(Diagnosis, OfLinks) {
  DoctorReport report = sound_report();
  report.pairs[0].equal = false;
  expect_finding(report, false, ErrorCode::kDevice, "what cuda:0 sends to cuda:1", "IOMMU");
  report = sound_report();
  report.pairs[1].peer_access = false;
  report.pairs[1].bytes_per_second = 9e9;
  expect_finding(report, true, ErrorCode::kDevice,
                 "cuda:0 cannot reach the memory of cuda:1 (PCIe, one switch)", "guidance");
  report = sound_report();
  report.pairs[0].bytes_per_second = 2e9;
  expect_finding(report, true, ErrorCode::kDevice, "gives 2.0 GB/s", "16 lanes");
  report = sound_report();
  report.pairs[0].failure = "the link is down";
  expect_finding(report, false, ErrorCode::kDevice, "the link is down", "restart");
  report = sound_report();
  report.exchange->failure = "they have no direct link";
  expect_finding(report, false, ErrorCode::kDevice, "cannot exchange: they have no direct link", "`gpus`");
  report = sound_report();
  report.exchange_by_host = report.exchange;
  EXPECT_TRUE(diagnose(report).empty());
  report.exchange_by_host->failure = "it cannot be locked";
  expect_finding(report, false, ErrorCode::kDevice, "it cannot be locked", "`gpus`");
  report = sound_report();
  report.exchange->equal = false;
  expect_finding(report, false, ErrorCode::kDevice, "does not arrive as it was sent", "ECC");
}

TEST(Diagnosis, OfTheHost) {
  const auto expect = [](const DoctorReport& report, const char* what, const char* remedy) {
    expect_finding(report, true, ErrorCode::kDevice, what, remedy);
  };
  DoctorReport report = sound_report();
  report.host.available = 2'000'000'000;
  expect(report, "2.0 GB of memory are free", "container");
  report = sound_report();
  report.host.codecs.clear();
  expect(report, "no .mp4", "FFmpeg");
  for (const auto& [name, value] :
       {std::pair("CUDA_LAUNCH_BLOCKING", "1"), std::pair("NVIDIA_TF32_OVERRIDE", "0"),
        std::pair("OMP_NUM_THREADS", "1")}) {
    report = sound_report();
    report.host.environment = {{name, value}};
    expect(report, name, "unset it");
  }
  report = sound_report();
  report.host.environment = {{"WORLD_SIZE", "2"}};
  expect(report, "torchrun", "`gpus`");
}

TEST(Diagnosis, WritesVersions) {
  EXPECT_EQ(cuda_version_text(12080), "12.8");
  EXPECT_EQ(cudnn_version_text(91900), "9.19.0");
  EXPECT_EQ(cudnn_version_text(90100), "9.1.0");
  EXPECT_EQ(cudnn_version_text(8907), "8.9.7");
}

}  // namespace
}  // namespace wan::test
