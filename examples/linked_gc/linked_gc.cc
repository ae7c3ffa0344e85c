// A graph whose parts point to each other, in circles too, has no owner who could free it. The
// collector frees what nobody reaches any more.
#include <cstdio>
#include <string>

#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/string.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/wait_group.h"

using namespace plimsoll;

// A station knows its neighbours, and they know it. GC_FIELDS says where its pointers are; leaving
// one out is found when the first Station is made.
struct Station {
  gc::string name;
  gc::vector<gc::Ptr<Station>> neighbours;
  GC_FIELDS(Station, name, neighbours);
};

void Connect(Station* a, Station* b) {
  a->neighbours.push_back(b);
  b->neighbours.push_back(a);
}

// A line of stations that closes upon itself. On a stack a plain pointer will do.
Station* Circle(std::string_view line, int stations) {
  Station* first = gc::make<Station>();
  first->name = gc::string(line) + " 1";
  Station* last = first;
  for (int i = 2; i <= stations; ++i) {
    Station* next = gc::make<Station>();
    next->name = gc::string(line) + " " + std::to_string(i);
    Connect(last, next);
    last = next;
  }
  Connect(last, first);
  return first;
}

int main(int argc, char** argv) {
  return Main(argc, argv, [] {
    // From malloc's memory, a std:: container or another thread: a Root.
    gc::Root<Station> central = gc::make<Station>();
    central->name = "Central";
    // Stacks are scanned word by word: an address that a finished call has left behind on this one
    // would keep a whole line alive. Another goroutine's stack goes with it.
    WaitGroup done;
    done.Add(1);
    Go([&] {
      for (const char* line : {"North", "South"}) Connect(central, Circle(line, 5));
      done.Done();
    });
    done.Wait();
    const gc::string& first = central->neighbours[0]->name;  // no zero byte ends a gc::string
    std::printf("%.*s: %zu lines, the first begins at %.*s\n",
                static_cast<int>(central->name.size()), central->name.data(),
                central->neighbours.size(), static_cast<int>(first.size()), first.data());

    // Four goroutines build circles of 500 that nobody keeps, 200,000 stations in all.
    for (int g = 0; g < 4; ++g) {
      done.Add(1);
      Go([&done] {
        for (int i = 0; i < 100; ++i) (void)Circle("nowhere", 500);
        done.Done();
      });
    }
    done.Wait();

    gc::Collect();
    const gc::Stats all = gc::GetStats();
    // 11 stations, their names, and the storage of their vectors.
    std::printf("objects alive: %s\n", all.live_objects < 100 ? "the network alone" : "too many");
    std::printf("cycles of the collector: %s\n", all.cycles > 5 ? "several" : "too few");

    // Closing a line is forgetting it.
    central->neighbours.pop_back();
    gc::Collect();
    const gc::Stats less = gc::GetStats();
    std::printf("without its second line: %s\n",
                less.live_objects < all.live_objects ? "fewer" : "as many");
    return 0;
  });
}
