// Fuzzes the models of Go and automaxprocs that `plimsoll limits` shows beside ours: they read the
// same files with other parsers.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "plimsoll/tools/plimsoll/peers.h"
#include "tests/fuzz/fuzz_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int kCpus = 64;
  plimsoll::container::FuzzFiles files({reinterpret_cast<const char*>(data), size},
                                       {"/proc/self/cgroup", "/proc/self/mountinfo"});
  const plimsoll::tools::Peers peers = plimsoll::tools::AskPeers(files, kCpus);
  for (const int procs : {peers.go125, peers.go1268}) {
    if (procs != plimsoll::tools::kGoEnds && (procs < 2 || procs > kCpus)) abort();
  }
  using Kind = plimsoll::tools::AutomaxprocsChoice::Kind;
  if (peers.automaxprocs_1_6.kind == Kind::kValue && peers.automaxprocs_1_6.value < 1) abort();
  if (peers.automaxprocs_1_6.Text().empty()) abort();
  return 0;
}
