#include "plimsoll/alloc/stats.h"

#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll {

void WriteJson(const HeapStats& stats, void (*write)(std::string_view text, void* to), void* to) {
  const struct {
    const char* name;
    uint64_t value;
  } kFields[] = {
      {"live_bytes", stats.live.value()},
      {"span_bytes", stats.in_spans.value()},
      {"fragmentation_permille", stats.FragmentationPermille()},
      {"idle_bytes", stats.idle.value()},
      {"released_bytes", stats.released.value()},
      {"mapped_bytes", stats.mapped.value()},
      {"metadata_bytes", stats.metadata.value()},
      {"large_objects", stats.large_objects},
      {"large_bytes", stats.large.value()},
      {"caches", stats.caches},
      {"releases", stats.releases},
      {"released_total_bytes", stats.released_total.value()},
      {"collapsed_total_bytes", stats.collapsed_total.value()},
  };
  write("{", to);
  for (const auto& field : kFields) {
    base::RawText text;
    text.Add("\"");
    text.Add(field.name);
    text.Add("\": ");
    text.Add(field.value);
    text.Add(", ");
    write(text.view(), to);
  }
  {
    base::RawText text;
    text.Add("\"limit_bytes\": ");
    if (stats.limit.value() == UINT64_MAX) {
      text.Add("null");
    } else {
      text.Add(stats.limit.value());
    }
    text.Add(", \"classes\": [");
    write(text.view(), to);
  }
  bool first = true;
  for (size_t c = 1; c < alloc::kClassCount; ++c) {
    const ClassStats& k = stats.classes[c];
    if (k.spans == 0) continue;
    base::RawText text;
    text.Add(first ? "\n  {\"size\": " : ",\n  {\"size\": ");
    text.Add(alloc::kSizeClasses[c].size);
    text.Add(", \"spans\": ");
    text.Add(k.spans);
    text.Add(", \"objects\": ");
    text.Add(k.objects);
    text.Add(", \"capacity\": ");
    text.Add(k.capacity);
    text.Add(", \"unused_bytes\": ");
    text.Add((k.capacity - k.objects) * alloc::kSizeClasses[c].size);
    text.Add("}");
    write(text.view(), to);
    first = false;
  }
  write("]}\n", to);
}

}  // namespace plimsoll
