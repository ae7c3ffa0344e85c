#include "plimsoll/container/pressure.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>

#include "gtest/gtest.h"
#include "plimsoll/container/cgroup/fake_files.h"

// Every allocation of this test, counted.
static std::atomic<uint64_t> allocations{0};
void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace plimsoll::container {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

PressurePlaces V2Places() {
  PressurePlaces places;
  places.cpu_levels = {"/cg/pod/c1", "/cg/pod", "/cg"};
  places.cpu_dir = "/cg/pod/c1";
  places.memory_dir = "/cg/pod/c1";
  places.memory_version = CgroupVersion::kV2;
  places.quota = 1.5;
  return places;
}

// A container on v2 with a clock of its own, and no threads to be seen.
class PressureTest : public testing::Test {
 protected:
  PressureTest() { Fill(files_); }

  static void Fill(FakeFiles& files) {
    files.Write("/cg/pod/c1/cpu.stat", Stat(0, 0, 0));
    files.Write("/cg/pod/cpu.stat", Stat(0, 0, 0));
    files.Write("/cg/cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\n");
    files.Write("/cg/pod/c1/cpu.pressure", "some avg10=0.00 total=0\nfull avg10=0.00 total=0\n");
    files.Write("/cg/pod/c1/memory.pressure", "some avg10=0.00 total=0\nfull avg10=0.00 total=0\n");
    files.Write("/cg/pod/c1/memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n");
    files.Write("/proc/stat", "cpu  0 0 0 0 0\ncpu0 0 0 0 1000 0\ncpu1 0 0 0 1000 0\nintr 0\n");
  }

  static std::string Stat(int periods, int throttled, int usec) {
    return "usage_usec 1\nnr_periods " + std::to_string(periods) + "\nnr_throttled " +
           std::to_string(throttled) + "\nthrottled_usec " + std::to_string(usec) + "\n";
  }

  PressureOptions Options() {
    PressureOptions options;
    options.files = &files_;
    options.task_dir = task_dir_;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    CPU_SET(1, &cpus);
    options.cpus = cpus;
    options.now_ns = [this] { return now_ns_; };
    options.used_ns = [this] { return used_ns_; };
    return options;
  }

  FakeFiles files_;
  std::string task_dir_ = "/no/such/dir";
  int64_t now_ns_ = 100 * kSecond;
  int64_t used_ns_ = 0;
};

TEST_F(PressureTest, FirstReadingHasTotalsAndNoRates) {
  files_.Write("/cg/pod/c1/cpu.stat", Stat(100, 30, 5000));
  files_.Write("/cg/pod/c1/memory.events", "low 0\nhigh 7\nmax 6\noom 5\noom_kill 4\n");
  Pressure pressure(V2Places(), Options());
  const PressureReading reading = pressure.Poll();
  EXPECT_EQ(reading.wall_s, 0);
  EXPECT_EQ(reading.verdict, PressureVerdict::kUnknown);
  EXPECT_EQ(reading.throttling, CpuStat{});
  EXPECT_EQ(reading.throttling_total, (CpuStat{100, 30, 5'000'000}));
  EXPECT_EQ(reading.events, MemoryEvents{});
  EXPECT_EQ(reading.events_total, (MemoryEvents{7, 6, 5, 4}));
  EXPECT_TRUE(pressure.diagnostics().empty());
}

TEST_F(PressureTest, MeasuresWhatRoseSinceThePollBefore) {
  Pressure pressure(V2Places(), Options());
  pressure.Poll();
  now_ns_ += 2 * kSecond;
  used_ns_ += 3 * kSecond;
  files_.Write("/cg/pod/c1/cpu.pressure", "some total=600000\nfull total=200000\n");
  files_.Write("/cg/pod/c1/memory.pressure", "some total=40\nfull total=10\n");
  files_.Write("/cg/pod/c1/memory.events", "low 0\nhigh 3\nmax 0\noom 0\noom_kill 1\n");
  files_.Write("/proc/stat", "cpu  0 0 0 0 0\ncpu0 0 0 0 1050 0\ncpu1 0 0 0 1000 50\nintr 0\n");
  const PressureReading reading = pressure.Poll();
  EXPECT_EQ(reading.wall_s, 2);
  EXPECT_EQ(reading.cpus_used, 1.5);
  EXPECT_EQ(reading.cpu, (Psi{600'000'000, 200'000'000}));
  EXPECT_EQ(reading.memory, (Psi{40'000, 10'000}));
  EXPECT_EQ(reading.events, (MemoryEvents{3, 0, 0, 1}));
  ASSERT_TRUE(reading.idle_cpus.has_value());
  EXPECT_NEAR(*reading.idle_cpus, 100.0 / static_cast<double>(sysconf(_SC_CLK_TCK)) / 2, 1e-9);
}

TEST_F(PressureTest, NamesTheVisibleLevelThatThrottledMost) {
  Pressure pressure(V2Places(), Options());
  pressure.Poll();
  now_ns_ += kSecond;
  files_.Write("/cg/pod/c1/cpu.stat", Stat(10, 1, 10));
  files_.Write("/cg/pod/cpu.stat", Stat(10, 9, 900));
  const PressureReading reading = pressure.Poll();
  EXPECT_EQ(reading.verdict, PressureVerdict::kThrottled);
  EXPECT_EQ(pressure.places().cpu_levels[reading.worst_level], "/cg/pod");
  EXPECT_EQ(reading.throttling, (CpuStat{10, 9, 900'000}));
}

TEST_F(PressureTest, ReadsTheFilesOfV1) {
  files_.Write("/v1/cpu/c1/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 12345\n");
  files_.Write("/v1/memory/c1/memory.failcnt", "8\n");
  files_.Write("/v1/memory/c1/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
  PressurePlaces places;
  places.cpu_levels = {"/v1/cpu/c1"};
  places.cpu_dir = "/v1/cpu/c1";
  places.memory_dir = "/v1/memory/c1";
  places.memory_version = CgroupVersion::kV1;
  Pressure pressure(places, Options());
  const PressureReading reading = pressure.Poll();
  EXPECT_EQ(reading.throttling_total, (CpuStat{5, 2, 12345}));
  EXPECT_EQ(reading.events_total, (MemoryEvents{0, 8, 0, 1}));
  EXPECT_EQ(reading.cpu, std::nullopt) << "v1 has no PSI";
  EXPECT_EQ(pressure.event_fd(), -1);
  EXPECT_TRUE(pressure.diagnostics().empty());
}

TEST_F(PressureTest, MissingFilesAreAbsentAndNoFault) {
  PressurePlaces places;
  places.cpu_levels = {"/nowhere"};
  places.cpu_dir = "/nowhere";
  places.memory_dir = "/nowhere";
  places.memory_version = CgroupVersion::kV2;
  Pressure pressure(places, Options());
  pressure.Poll();
  now_ns_ += kSecond;
  const PressureReading reading = pressure.Poll();
  EXPECT_EQ(reading.throttling, std::nullopt);
  EXPECT_EQ(reading.cpu, std::nullopt);
  EXPECT_EQ(reading.memory, std::nullopt);
  EXPECT_EQ(reading.events, std::nullopt);
  EXPECT_TRUE(pressure.diagnostics().empty());
}

TEST_F(PressureTest, ComplainsOnceOfAFileThatItCannotReadAndReadsTheRest) {
  const struct {
    std::string name;
    void (*spoil)(FakeFiles&);
    std::string file, text;
  } kCases[] = {
      {"garbage in cpu.stat", [](FakeFiles& f) { f.Write("/cg/pod/c1/cpu.stat", "\x7f nonsense"); },
       "/cg/pod/c1/cpu.stat", "nonsense"},
      {"cut cpu.stat",
       [](FakeFiles& f) { f.Write("/cg/pod/c1/cpu.stat", "nr_periods 5\nnr_throttled 3"); },
       "/cg/pod/c1/cpu.stat", "nr_throttled 3"},
      {"EIO", [](FakeFiles& f) { f.FailRead("/cg/pod/c1/cpu.pressure", EIO); },
       "/cg/pod/c1/cpu.pressure", "Input/output error"},
      {"ENODEV: the group is gone", [](FakeFiles& f) { f.Remove("/cg/pod/c1/memory.pressure"); },
       "/cg/pod/c1/memory.pressure", "No such device"},
      {"empty memory.events", [](FakeFiles& f) { f.Write("/cg/pod/c1/memory.events", "x"); },
       "/cg/pod/c1/memory.events", "x"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    FakeFiles fresh;
    Fill(fresh);
    PressureOptions options = Options();
    options.files = &fresh;
    Pressure pressure(V2Places(), options);
    pressure.Poll();
    c.spoil(fresh);
    fresh.Write("/cg/pod/cpu.stat", Stat(10, 9, 900));
    now_ns_ += kSecond;
    const PressureReading reading = pressure.Poll();
    EXPECT_EQ(reading.verdict, PressureVerdict::kThrottled) << "the other level still counts";
    now_ns_ += kSecond;
    pressure.Poll();
    const std::vector<Diagnostic> diagnostics = pressure.diagnostics();
    ASSERT_EQ(diagnostics.size(), 1);
    EXPECT_EQ(diagnostics[0].file, c.file);
    EXPECT_NE(diagnostics[0].text.find(c.text), std::string::npos) << diagnostics[0].text;
  }
}

TEST_F(PressureTest, SaysWhyAFileCannotBeOpened) {
  files_.FailOpen("/cg/pod/c1/cpu.stat", EACCES);
  Pressure pressure(V2Places(), Options());
  ASSERT_EQ(pressure.diagnostics().size(), 1);
  EXPECT_NE(pressure.diagnostics()[0].text.find("Permission denied"), std::string::npos);
}

TEST_F(PressureTest, PressureThatIsSwitchedOffIsNoFault) {
  files_.FailRead("/cg/pod/c1/cpu.pressure", EOPNOTSUPP);
  Pressure pressure(V2Places(), Options());
  EXPECT_EQ(pressure.Poll().cpu, std::nullopt);
  EXPECT_TRUE(pressure.diagnostics().empty());
}

TEST_F(PressureTest, GroupThatWasMadeAnewDoesNotWrapAround) {
  files_.Write("/cg/pod/c1/cpu.stat", Stat(1000, 500, 900));
  Pressure pressure(V2Places(), Options());
  pressure.Poll();
  now_ns_ += kSecond;
  files_.Write("/cg/pod/c1/cpu.stat", Stat(4, 2, 10));
  EXPECT_EQ(pressure.Poll().throttling, (CpuStat{4, 2, 10'000}));
}

TEST_F(PressureTest, ClosesWhatItOpened) {
  {
    Pressure pressure(V2Places(), Options());
    EXPECT_GT(files_.open_handles(), 0);
  }
  EXPECT_EQ(files_.open_handles(), 0);
}

TEST_F(PressureTest, AllocatesNothingInTheSteadyState) {
  task_dir_ = "/proc/self/task";
  Pressure pressure(V2Places(), Options());
  pressure.Poll();
  pressure.Poll();
  const uint64_t before = allocations.load(std::memory_order_relaxed);
  for (int i = 0; i < 100; ++i) {
    now_ns_ += kSecond;
    (void)pressure.Poll();
  }
  EXPECT_EQ(allocations.load(std::memory_order_relaxed), before);
}

TEST_F(PressureTest, ReadsEachFileWithOneCall) {
  Pressure pressure(V2Places(), Options());
  pressure.Poll();
  const uint64_t before = files_.calls();
  pressure.Poll();
  EXPECT_EQ(files_.calls() - before, 7u);  // three levels, two pressures, events, /proc/stat
}

// A thread that wanted a CPU all the time, in a fake task directory.
TEST_F(PressureTest, FindsAQuotaThatCannotBeSeen) {
  const std::filesystem::path dir =
      std::filesystem::path(testing::TempDir()) / ("pressure" + std::to_string(getpid()));
  std::filesystem::create_directories(dir / "7");
  const auto schedstat = [&](const char* text) { std::ofstream(dir / "7" / "schedstat") << text; };
  schedstat("0 0 1\n");
  task_dir_ = dir;
  {
    Pressure pressure(V2Places(), Options());
    pressure.Poll();
    now_ns_ += kSecond;
    used_ns_ += kSecond / 2;
    schedstat("500000000 500000000 2\n");
    const long ticks = sysconf(_SC_CLK_TCK);
    files_.Write("/proc/stat", "cpu0 0 0 0 " + std::to_string(1000 + ticks / 2) +
                                   " 0\ncpu1 0 0 0 " + std::to_string(1000 + ticks) + " 0\n");
    const PressureReading reading = pressure.Poll();
    EXPECT_EQ(ToString(reading.verdict), "hidden-quota");
    EXPECT_EQ(reading.run_delay, 0.5);
    EXPECT_EQ(reading.threads, 1);
  }
  std::filesystem::remove_all(dir);
}

TEST(PressureEventTest, DescriptorWakesWhenMemoryEventsChanges) {
  const std::filesystem::path dir =
      std::filesystem::path(testing::TempDir()) / ("events" + std::to_string(getpid()));
  std::filesystem::create_directories(dir);
  std::ofstream(dir / "memory.events") << "high 0\nmax 0\n";
  PressurePlaces places;
  places.memory_dir = dir;
  places.memory_version = CgroupVersion::kV2;
  {
    Pressure pressure(places);
    ASSERT_GE(pressure.event_fd(), 0);
    EXPECT_FALSE(pressure.TakeEvent());
    pressure.Poll();
    std::ofstream(dir / "memory.events") << "high 4\nmax 0\n";
    pollfd waiter{pressure.event_fd(), POLLIN, 0};
    ASSERT_EQ(poll(&waiter, 1, 10'000), 1);
    EXPECT_TRUE(pressure.TakeEvent());
    EXPECT_FALSE(pressure.TakeEvent());
    EXPECT_EQ(pressure.Poll().events, (MemoryEvents{4, 0, 0, 0}));
  }
  std::filesystem::remove_all(dir);
}

TEST(PressureOfThisProcessTest, HasNothingToComplainOf) {
  Pressure pressure(PlacesOf(Detect()));
  pressure.Poll();
  const PressureReading reading = pressure.Poll();
  EXPECT_GE(reading.wall_s, 0);
  EXPECT_GE(reading.cpus_used, 0);
  for (const Diagnostic& diagnostic : pressure.diagnostics()) ADD_FAILURE() << diagnostic.text;
}

TEST(PlacesOfTest, TakesTheLevelsOfTheCpuTreeAndTheOwnDirectories) {
  Limits limits;
  limits.cpu.dir = "/cg/a";
  limits.cpu.quota = {Fraction{3, 2}, "/cg", "/cg/cpu.max"};
  limits.memory.dir = "/m/a";
  limits.memory.version = CgroupVersion::kV1;
  Tree cpuset, cpu;
  cpuset.controllers = "cpuset";
  cpuset.levels = {{.dir = "/wrong"}};
  cpu.controllers = "pids,cpu";
  cpu.levels = {{.dir = "/cg/a"}, {.dir = "/cg"}};
  limits.trees = {cpuset, cpu};
  PressurePlaces expected;
  expected.cpu_levels = {"/cg/a", "/cg"};
  expected.cpu_dir = "/cg/a";
  expected.memory_dir = "/m/a";
  expected.memory_version = CgroupVersion::kV1;
  expected.quota = 1.5;
  EXPECT_EQ(PlacesOf(limits), expected);
}

}  // namespace
}  // namespace plimsoll::container
