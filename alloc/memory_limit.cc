#include "plimsoll/alloc/memory_limit.h"

#include <algorithm>
#include <cstring>

#include "plimsoll/alloc/base/debug_text.h"
#include "plimsoll/alloc/base/environment.h"
#include "plimsoll/alloc/base/file_lines.h"
#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll::alloc {
namespace {

constexpr uint64_t kMachinePage = 4096;

// v1 writes 2^63 less a page for no limit.
constexpr uint64_t kAsGoodAsNone = uint64_t{1} << 60;

// A path in a buffer; false: it does not fit.
bool Append(char* path, size_t room, std::string_view text) {
  const size_t size = std::strlen(path);
  if (text.size() >= room - size) return false;
  if (!text.empty()) std::memcpy(path + size, text.data(), text.size());  // null is no source
  path[size + text.size()] = '\0';
  return true;
}

// The number that `file` in `directory` begins with; kNone: there is none, or it cannot be read.
uint64_t ReadNumber(const char* directory, std::string_view file) {
  char path[1024] = {};
  uint64_t value = MemoryLimit::kNone;
  if (!Append(path, sizeof(path), directory) || !Append(path, sizeof(path), file)) return value;
  base::ForEachLine(
      path,
      [](std::string_view line, void* to) {
        (void)base::ParseDecimal(line, static_cast<uint64_t*>(to));
        return false;
      },
      &value);
  return value;
}

// v1's limit of a group and of all above it; kNone as above.
uint64_t ReadHierarchicalLimit(const char* directory) {
  char path[1024] = {};
  uint64_t value = MemoryLimit::kNone;
  if (!Append(path, sizeof(path), directory) || !Append(path, sizeof(path), "/memory.stat")) {
    return value;
  }
  base::ForEachLine(
      path,
      [](std::string_view line, void* to) {
        if (base::TakeUntil(line, ' ') != "hierarchical_memory_limit") return true;
        (void)base::ParseDecimal(line, static_cast<uint64_t*>(to));
        return false;
      },
      &value);
  return value;
}

// Whether `word` is one of the words of `list`, which commas part.
bool Has(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    if (base::TakeUntil(list, ',') == word) return true;
  }
  return false;
}

}  // namespace

bool ParseGoMemLimit(std::string_view text, uint64_t* bytes) {
  constexpr struct {
    std::string_view suffix;
    int shift;
  } kUnits[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}, {"B", 0}, {"", 0}};
  for (const auto& unit : kUnits) {
    if (!text.ends_with(unit.suffix)) continue;
    uint64_t number = 0;
    text.remove_suffix(unit.suffix.size());
    if (!base::ParseDecimal(text, &number) || number > uint64_t{INT64_MAX} >> unit.shift) {
      return false;
    }
    *bytes = number << unit.shift;
    return true;
  }
  return false;
}

void MemoryLimit::Find() { Find(base::FromEnvironment("GOMEMLIMIT")); }

void MemoryLimit::Find(const char* gomemlimit) {
  if (gomemlimit != nullptr && *gomemlimit != '\0') {
    off_ = std::string_view(gomemlimit) == "off";
    if (!off_ && !ParseGoMemLimit(gomemlimit, &told_)) {
      base::RawLog("plimsoll: GOMEMLIMIT=", base::Quoted{gomemlimit},
                   " is not a number of bytes, KiB, MiB, GiB or TiB, nor \"off\"; it is left out");
    }
  }
  if (off_ || told_ != kNone) return;

  // "0::/path" is v2's, "4:memory:/path" v1's.
  struct Own {
    char v2[kLongest] = {};
    char v1[kLongest] = {};
  } own;
  char path[kLongest] = {};
  (void)Append(path, sizeof(path), root_);
  const size_t root = std::strlen(path);
  if (!Append(path, sizeof(path), "/proc/self/cgroup")) return;
  base::ForEachLine(
      path,
      [](std::string_view line, void* to) {
        auto* o = static_cast<Own*>(to);
        const std::string_view number = base::TakeUntil(line, ':');
        const std::string_view controllers = base::TakeUntil(line, ':');
        if (number == "0" && controllers.empty()) (void)Append(o->v2, sizeof(o->v2), line);
        if (Has(controllers, "memory")) (void)Append(o->v1, sizeof(o->v1), line);
        return true;
      },
      &own);
  path[root] = '\0';
  if (!Append(path, sizeof(path), "/proc/self/mountinfo")) return;
  struct Search {
    MemoryLimit* limit;
    const Own* own;
  } search{this, &own};
  base::ForEachLine(
      path,
      [](std::string_view line, void* to) {
        const auto* s = static_cast<const Search*>(to);
        s->limit->TakeMount(line, s->own->v2, s->own->v1);
        return true;
      },
      &search);
}

// "31 23 0:28 ROOT MOUNT options fields - TYPE source super-options"; see proc(5).
void MemoryLimit::TakeMount(std::string_view line, std::string_view own_v2,
                            std::string_view own_v1) {
  for (int i = 0; i < 3; ++i) base::TakeUntil(line, ' ');
  const std::string_view top = base::TakeUntil(line, ' ');
  const std::string_view mount = base::TakeUntil(line, ' ');
  const size_t dash = line.find(" - ");
  if (dash == std::string_view::npos) return;
  line.remove_prefix(dash + 3);
  const std::string_view type = base::TakeUntil(line, ' ');
  base::TakeUntil(line, ' ');
  const bool v2 = type == "cgroup2";
  if (!v2 && !(type == "cgroup" && Has(line, "memory"))) return;
  const std::string_view own = v2 ? own_v2 : own_v1;
  Directory& to = v2 ? v2_ : v1_;
  if (own.empty() || to.path[0] != '\0') return;
  // What the mount shows begins at `top`. A process outside of it ("/..", or another branch) sees
  // the limits of `top` at best.
  std::string_view below = own;
  if (top != "/") {
    const bool within =
        own.starts_with(top) && (own.size() == top.size() || own[top.size()] == '/');
    below.remove_prefix(within ? top.size() : own.size());
  }
  if (below == "/" || below.starts_with("/..")) below = {};
  if (!Join(to, mount, below)) to = {};
}

bool MemoryLimit::Join(Directory& to, std::string_view mount, std::string_view below) const {
  to = {};
  if (!Append(to.path, kLongest, root_) || !Append(to.path, kLongest, mount)) return false;
  to.mount = std::strlen(to.path);
  return Append(to.path, kLongest, below);
}

uint64_t MemoryLimit::Read() const {
  if (off_) return kNone;
  if (told_ != kNone) return told_;
  uint64_t least = kNone;
  if (v2_.path[0] != '\0') {
    Directory at = v2_;
    for (size_t size = std::strlen(at.path);;) {
      least = std::min(
          {least, ReadNumber(at.path, "/memory.max"), ReadNumber(at.path, "/memory.high")});
      if (size <= at.mount) break;
      do --size;
      while (size > at.mount && at.path[size] != '/');
      at.path[size] = '\0';
    }
  }
  if (v1_.path[0] != '\0') least = std::min(least, ReadHierarchicalLimit(v1_.path));
  return least >= kAsGoodAsNone ? kNone : least;
}

uint64_t MemoryLimit::HeapShare(uint64_t held) const {
  const uint64_t limit = Read();
  if (limit == kNone) return kNone;
  const uint64_t margin = std::min(limit / 8, uint64_t{16} << 20);
  // "size resident shared ...", in machine pages; shared is what has a file behind it.
  char path[kLongest] = {};
  uint64_t anonymous = 0;
  if (Append(path, sizeof(path), root_) && Append(path, sizeof(path), "/proc/self/statm")) {
    base::ForEachLine(
        path,
        [](std::string_view line, void* to) {
          uint64_t resident = 0;
          uint64_t shared = 0;
          base::TakeUntil(line, ' ');
          if (base::ParseDecimal(base::TakeUntil(line, ' '), &resident) &&
              base::ParseDecimal(base::TakeUntil(line, ' '), &shared)) {
            *static_cast<uint64_t*>(to) = (resident - std::min(resident, shared)) * kMachinePage;
          }
          return false;
        },
        &anonymous);
  }
  // Pages of the heap that were never touched are held and not in memory: until they are, this is
  // too small by them.
  const uint64_t besides = anonymous > held ? anonymous - held : 0;
  return limit > margin + besides ? limit - margin - besides : 1;
}

}  // namespace plimsoll::alloc
