// Fuzzes the readers of what the kernel counts: throttling, stalls, memory events, run delay and
// idle time. The first byte says which; the rest is the file.
#include <sched.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "plimsoll/container/cgroup/pressure_formats.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

void Require(bool fact) {
  if (!fact) abort();
}

// What was understood, written again as the kernel writes it, is understood alike.
void One(uint8_t which, std::string_view text) {
  switch (which % 6) {
    case 0: {
      const std::optional<CpuStat> stat = ParseCpuStat(text);
      if (!stat) return;
      Require(ParseCpuStat(Concat("nr_periods ", stat->nr_periods, "\nnr_throttled ",
                                  stat->nr_throttled, "\nthrottled_time ", stat->throttled_ns,
                                  "\n")) == stat);
      return;
    }
    case 1: {
      const std::optional<Psi> psi = ParsePsi(text);
      if (!psi) return;
      Require(psi->some_ns % 1000 == 0 && psi->full_ns % 1000 == 0);
      Require(ParsePsi(Concat("some avg10=0.00 total=", psi->some_ns / 1000,
                              "\nfull total=", psi->full_ns / 1000, "\n")) == psi);
      return;
    }
    case 2: {
      const std::optional<MemoryEvents> events = ParseMemoryEvents(text);
      if (!events) return;
      Require(ParseMemoryEvents(Concat("high ", events->high, "\nmax ", events->max, "\noom ",
                                       events->oom, "\noom_kill ", events->oom_kill, "\n")) ==
              events);
      return;
    }
    case 3: {
      const std::optional<SchedStat> stat = ParseSchedStat(text);
      if (!stat) return;
      Require(ParseSchedStat(Concat(stat->run_ns, " ", stat->wait_ns, " 1\n")) == stat);
      return;
    }
    case 4: {
      cpu_set_t none, all;
      CPU_ZERO(&none);
      for (size_t i = 0; i < sizeof all; ++i) reinterpret_cast<unsigned char*>(&all)[i] = 0xff;
      Require(!ParseIdleTicks(text, none).has_value());
      (void)ParseIdleTicks(text, all);
      return;
    }
    default: {
      const std::optional<uint64_t> value = FlatKeyed(text, "oom_kill");
      if (!value) return;
      Require(text.find("oom_kill") != std::string_view::npos);
      Require(FlatKeyed(Concat("oom_kill ", *value, "\n"), "oom_kill") == value);
      return;
    }
  }
}

}  // namespace
}  // namespace plimsoll::container

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  plimsoll::container::One(static_cast<uint8_t>(data[0] - '0'),
                           {reinterpret_cast<const char*>(data + 1), size - 1});
  return 0;
}
