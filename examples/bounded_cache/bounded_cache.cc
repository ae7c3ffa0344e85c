// A cache that lives within a container: it takes what memory there is, and lets go when it is told
// that there is little left. Run with GOMEMLIMIT=64MiB, or in a container of 64 MiB.
#include <cstdint>
#include <cstdio>
#include <mutex>

#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/hash_map.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/pressure.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/gc/weak.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/mutex.h"

using namespace plimsoll;

struct Page {
  int64_t number = 0;
  char text[64 * 1024 - 64] = {};
  GC_NOSCAN(Page);
};

// `all` knows every page that still exists, whoever holds it, and keeps none. What is kept for
// later is in `kept`, oldest first: forgetting a page there is all it takes to let it go.
struct Pages {
  gc::hash_map<int64_t, gc::Weak<Page>> all;
  gc::vector<gc::Ptr<Page>> kept;
  GC_FIELDS(Pages, all, kept);
};

class Cache {
 public:
  Page* Get(int64_t number) {
    std::lock_guard lock(mu_);
    if (gc::Weak<Page>* known = pages_->all.find(number)) {
      if (Page* page = known->lock()) return page;  // null: it is gone
    }
    Page* page = gc::make<Page>();
    page->number = number;
    ++made_;
    pages_->all[number] = gc::Weak<Page>(page);
    pages_->kept.push_back(page);
    return page;
  }

  // Lets the oldest half go, or nearly all.
  void Shrink(gc::Pressure pressure) {
    std::lock_guard lock(mu_);
    const size_t n = pages_->kept.size();
    const size_t go = pressure == gc::Pressure::kCritical ? n - n / 10 : n - n / 2;
    pages_->kept.erase(pages_->kept.begin(), pages_->kept.begin() + go);
    let_go_ += static_cast<int64_t>(go);
  }

  int64_t made() const { return Locked(made_); }
  int64_t let_go() const { return Locked(let_go_); }
  bool empty() const {
    std::lock_guard lock(mu_);
    return pages_->kept.empty();
  }

 private:
  int64_t Locked(const int64_t& count) const {
    std::lock_guard lock(mu_);
    return count;
  }

  mutable Mutex mu_;
  gc::Root<Pages> pages_ = gc::make<Pages>();
  int64_t made_ = 0;
  int64_t let_go_ = 0;
};

int main(int argc, char** argv) {
  return Main(argc, argv, [] {
    const auto limit = StartLimits().mem_limit.value;
    if (!limit.has_value() || *limit > 64 << 20) {
      std::fprintf(stderr, "bounded_cache: run me with GOMEMLIMIT=64MiB\n");
      return 1;
    }
    std::printf("limit: %d MiB\n", static_cast<int>(*limit >> 20));

    Cache cache;
    // Called on a goroutine of the collector's after a cycle that left little room.
    const gc::PressureListener shrink([&cache](gc::Pressure pressure) {
      if (pressure != gc::Pressure::kNone) cache.Shrink(pressure);
    });

    // Somebody reads page 7 all the while; the cache need not keep it for that.
    const gc::Root<Page> in_use = cache.Get(7);
    constexpr int kPages = 2000;
    int64_t right = 0;
    for (int64_t i = 0; i < kPages; ++i) right += cache.Get(i)->number == i;
    // On a busy machine the listener may be late; it is called all the same.
    while (cache.let_go() == 0) gc::Collect();
    std::printf("pages asked for: %d, 125 MiB of them; right: %s\n", kPages,
                right == kPages ? "all" : "not all");
    std::printf("made: %s\n", cache.made() >= kPages ? "each at least once" : "too few");
    std::printf("let go when the collector told of pressure: some\n");
    std::printf("page 7 was made once: %s\n", cache.Get(7) == in_use ? "yes" : "no");

    // Until a cycle finds room enough, or the cache has nothing more to give.
    do {
      gc::Collect();
      Yield();
    } while (gc::GetStats().pressure != gc::Pressure::kNone && !cache.empty());
    std::printf("in the end the heap is within the limit: %s\n",
                gc::GetStats().live_bytes < *limit ? "yes" : "no");
    return 0;
  });
}
