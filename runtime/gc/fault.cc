#include "plimsoll/runtime/gc/fault.h"

#include <cstddef>

namespace plimsoll::gc::internal {
namespace {

constexpr std::string_view kNames[] = {
    "none",         "missed_root",        "missed_stack",       "half_stack",
    "missed_range", "no_interior",        "flip_mark",          "mark_neighbour",
    "drop_grey",    "drop_found",         "early_end",          "last_word",
    "first_word",   "shifted_mask",       "first_element",      "large_head",
    "not_traced",   "all_noscan",         "free_marked",        "stale_mark",
    "second_word",  "span_not_queued",    "skipped_in_span",    "no_barrier",
    "shades_new",   "shaded_not_scanned", "allocates_white",    "interrupted_missed",
    "kept_lost",    "weak_not_shaded",    "weak_not_forgotten", "dead_not_nulled",
};
static_assert(sizeof(kNames) / sizeof(kNames[0]) == static_cast<size_t>(Fault::kCount));

}  // namespace

std::string_view FaultName(Fault fault) { return kNames[static_cast<size_t>(fault)]; }

Fault FaultByName(std::string_view name) {
  for (size_t i = 0; i < static_cast<size_t>(Fault::kCount); ++i) {
    if (kNames[i] == name) return static_cast<Fault>(i);
  }
  return Fault::kNone;
}

}  // namespace plimsoll::gc::internal
