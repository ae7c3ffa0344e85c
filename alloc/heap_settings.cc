#include "plimsoll/alloc/heap_settings.h"

#include <string_view>

namespace plimsoll::alloc {

HeapSettings ReadHeapSettings(const base::DebugText& debug) {
  constexpr uint64_t kMost = (uint64_t{1} << 50) - 1;
  HeapSettings settings;
  settings.sample_period = debug.Number("heapsample", kMost, settings.sample_period);
  settings.guard_every = debug.Number("heapguard", kMost, settings.guard_every);
  settings.quarantine_bytes = debug.Number("heapquarantine", kMost, settings.quarantine_bytes);
  constexpr std::string_view kThread[] = {"on", "off"};
  settings.thread = debug.Choice("heapthread", kThread) == 0;
  std::string_view words = debug.Find("heap").value_or("");
  while (!words.empty()) {
    const std::string_view word = base::TakeUntil(words, '+');
    const bool all = word == "all";
    if (all || word == "junk") settings.junk = true;
    if (all || word == "canary") settings.canary = true;
    if (all || word == "quarantine") settings.quarantine = true;
    if (!all && word != "junk" && word != "canary" && word != "quarantine") {
      base::RefuseDebugValue("heap", word, "junk, canary, quarantine or all", "it is left out");
    }
  }
  return settings;
}

}  // namespace plimsoll::alloc
