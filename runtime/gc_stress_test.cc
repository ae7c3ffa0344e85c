// Every kind of mutator at once, on the real scheduler, beside cycles that follow each other, with
// checkmark and the verifier on. Each looks at its own data: what was lost, and used again, shows.
//
// The test goes on for some cycles, and until each kind had a turn or more; with
// PLIMSOLL_TEST_SECONDS for so long.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/context/context.h"
#include "plimsoll/runtime/gc/cleanup.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/finalized.h"
#include "plimsoll/runtime/gc/function.h"
#include "plimsoll/runtime/gc/hash_map.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/optional.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/slice.h"
#include "plimsoll/runtime/gc/string.h"
#include "plimsoll/runtime/gc/variant.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/gc/weak.h"
#include "plimsoll/runtime/gc_trees_for_tests.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/attach.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/procs.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/runtime/time/timer.h"

namespace plimsoll {
namespace {

using Random = std::mt19937_64;

constexpr int kCycles = 40;

std::atomic<bool> over{false};
std::atomic<int> wrong{0};
std::atomic<const char*> first_wrong{nullptr};

void Check(bool right, const char* what) {
  if (right) return;
  wrong.fetch_add(1);
  const char* none = nullptr;
  first_wrong.compare_exchange_strong(none, what);
}

// --- Trees and large objects, in a vector on a stack and in Roots.

struct Trees {
  explicit Trees(Random&) { mine->resize(16); }
  gc::Root<gc::vector<gc::Ptr<Node>>> mine = gc::make<gc::vector<gc::Ptr<Node>>>();
  void Turn(Random& random) {
    const size_t at = random() % 16;
    if (Node* old = (*mine)[at]; old != nullptr) Check(IsTree(old, at + 1, 4), "a tree");
    (*mine)[at] = Tree(at + 1, 4);
    if (at == 0) {
      char* large = gc::make_noscan<char>(100'000);
      large[99'999] = 'x';
      Yield();
      Check(large[99'999] == 'x', "a large object");
      if (random() % 2 == 0) (void)gc::free_now(std::exchange(large, nullptr));
    }
  }
};

// --- A long chain that is shifted at one end and grows at the other.

struct Chain {
  explicit Chain(Random&) {
    for (uint64_t i = 0; i < kLength; ++i) Grow();
  }
  static constexpr uint64_t kLength = 5000;
  gc::Root<Node> head, tail;
  uint64_t first = 0, next = 0;
  void Grow() {
    Node* n = gc::make<Node>();
    n->key = next++;
    if (tail.get() == nullptr) {
      head = n;
    } else {
      tail->left = n;
    }
    tail = n;
  }
  void Turn(Random& random) {
    for (int i = 0; i < 50; ++i) {
      Node* old = head;
      Check(old->key == first, "a chain's head");
      head = old->left.get();
      old->left = nullptr;  // the only way to the rest, but for the Root
      ++first;
      Grow();
    }
    if (random() % 16 == 0) {
      uint64_t key = first;
      for (Node* n = head; n != nullptr; n = n->left) Check(n->key == key++, "a chain");
      Check(key == next, "a chain's length");
    }
  }
};

// --- Channels: pointers, strings and structs, from stack to stack and by a buffer.

struct Message {
  uint64_t number = 0;
  gc::Ptr<Node> tree;
  gc::string text;
  GC_FIELDS(Message, tree, text);
};

struct Channels {
  explicit Channels(Random&) {}
  void Turn(Random& random) {
    const Channel<Message> a(random() % 4), b(random() % 4);
    Go([=] {
      for (uint64_t i = 1; i <= 8; ++i) {
        a.Send(Message{i, gc::Ptr<Node>(Tree(i, 3)), gc::string("no. ") + std::to_string(i)});
      }
      a.Close();
    });
    Go([=] {  // takes it out of what was sent, and sends it on
      while (std::optional<Message> m = a.Recv()) {
        gc::Ptr<Node> above = gc::make<Node>();
        above->left = m->tree;
        m->tree = above;
        b.Send(*std::move(m));
      }
      b.Close();
    });
    uint64_t next = 1;
    while (std::optional<Message> m = b.Recv()) {
      Check(m->number == next && IsTree(m->tree->left, next, 3), "a message's tree");
      Check(m->text == "no. " + std::to_string(next), "a message's text");
      ++next;
    }
    Check(next == 9, "all messages");
  }
};

// --- Select, with both directions and a time-out.

struct Selects {
  explicit Selects(Random&) {}
  void Turn(Random& random) {
    const Channel<gc::Ptr<Node>> in(random() % 2), out;
    const Channel<gc::string> texts;
    WaitGroup done;
    done.Add(3);
    Go([&, in] {
      for (uint64_t i = 1; i <= 4; ++i) in.Send(gc::Ptr<Node>(Tree(i, 3)));
      done.Done();
    });
    Go([&, texts] {
      for (int i = 0; i < 4; ++i) texts.Send(gc::string("text ") + std::to_string(i));
      done.Done();
    });
    Go([&, out] {
      for (int i = 0; i < 4; ++i) Check(IsTree(*out.Recv(), 9, 3), "what a Select sent");
      done.Done();
    });
    uint64_t trees = 0, lines = 0, sent = 0;
    while (trees + lines + sent < 12) {
      const Channel<gc::Ptr<Node>> to = sent < 4 ? out : Channel<gc::Ptr<Node>>(nullptr);
      Select(OnRecv(in,
                    [&](std::optional<gc::Ptr<Node>> tree) {
                      ++trees;
                      Check(IsTree(*tree, trees, 3), "what a Select received");
                    }),
             OnRecv(texts,
                    [&](std::optional<gc::string> text) {
                      Check(*text == "text " + std::to_string(lines++), "a Select's text");
                    }),
             OnSend(to, gc::Ptr<Node>(Tree(9, 3)), [&] { ++sent; }),
             Timeout(absl::Microseconds(random() % 300), [] {}));
    }
    done.Wait();
  }
};

// --- Timers, whose functions hold Roots in malloc's memory.

struct Timers {
  explicit Timers(Random&) {}
  void Turn(Random& random) {
    const Channel<gc::Ptr<Node>> fired(8);
    std::vector<Timer> timers;
    int expected = 0;
    for (uint64_t i = 1; i <= 8; ++i) {
      timers.push_back(AfterFunc(absl::Microseconds(random() % 2000),
                                 [fired, i, tree = gc::Root<Node>(Tree(i, 3))] {
                                   Check(IsTree(tree, i, 3), "a timer's tree");
                                   fired.Send(gc::Ptr<Node>(tree));
                                 }));
    }
    for (Timer& t : timers) expected += random() % 4 == 0 && t.Stop() ? 0 : 1;
    for (int i = 0; i < expected; ++i) {
      const gc::Ptr<Node> tree = *fired.Recv();
      Check(IsTree(tree, tree->key, 3), "what a timer sent");
    }
  }
};

// --- Contexts: a value, a deadline, a function after the end.

constexpr ContextKey<gc::Root<Node>> kTree("tree");

struct Contexts {
  explicit Contexts(Random&) {}
  void Turn(Random& random) {
    auto [ctx, cancel] = WithTimeout(Background(), absl::Microseconds(random() % 2000));
    const Context with = WithValue(ctx, kTree, gc::Root<Node>(Tree(5, 3)));
    WaitGroup done;
    done.Add(4);
    const StopFunc stop = AfterFunc(with, [&done, tree = gc::Root<Node>(Tree(6, 3))] {
      Check(IsTree(tree, 6, 3), "the tree of a context's function");
      done.Done();
    });
    for (int i = 0; i < 3; ++i) {
      Go([&done, with = with] {
        Node* own = Tree(7, 3);
        const Channel<gc::Ptr<Node>> never;
        Select(OnRecv(never), OnDone(with));
        Check(IsTree(own, 7, 3), "a tree of who waits for a context");
        Check(IsTree(*with.Value(kTree), 5, 3), "a context's value");
        done.Done();
      });
    }
    if (random() % 2 == 0) cancel();
    done.Wait();
    cancel();
  }
};

// --- Closures in the heap.

struct Button {
  gc::function<uint64_t(uint64_t)> f;
  gc::Ptr<Button> next;
  GC_FIELDS(Button, f, next);
};

struct Closures {
  explicit Closures(Random&) {}
  gc::Root<Button> last;
  int length = 0;
  void Turn(Random& random) {
    Button* b = gc::make<Button>();
    const uint64_t key = random() % 1000 + 1;
    b->f = [tree = gc::Ptr<Node>(Tree(key, 3)), raw = Tree(key, 2), name = gc::string("name"),
            key](uint64_t x) {
      Check(IsTree(tree, key, 3) && IsTree(raw, key, 2) && name == "name", "a closure's captures");
      return x + key;
    };
    b->next = last.get();
    if (length > 0 && random() % 2 == 0) b->next->f = b->f;  // shared, and the one before goes
    last = b;
    if (++length > 30) {
      last = nullptr;
      length = 0;
    }
    for (Button* each = last; each != nullptr; each = each->next) {
      Check(each->f(1) > 1, "a closure's result");
    }
  }
};

// --- A cache of weak pointers that all share.

struct Page {
  uint64_t number = 0;
  gc::Ptr<Node> tree;
  GC_FIELDS(Page, tree);
};
struct Cache {
  gc::hash_map<gc::string, gc::Weak<Page>> pages;
  GC_FIELDS(Cache, pages);
};

struct Weaks {
  explicit Weaks(Random&) {
    std::lock_guard hold(mu);
    if (cache == nullptr) cache = std::make_unique<gc::Root<Cache>>(gc::make<Cache>());
  }
  static inline Mutex mu;
  static inline std::unique_ptr<gc::Root<Cache>> cache;
  gc::Root<Page> kept[4];
  void Turn(Random& random) {
    const uint64_t number = random() % 40 + 1;
    const gc::string name = gc::string("page ") + std::to_string(number);
    Page* page = nullptr;
    {
      std::lock_guard hold(mu);
      gc::Weak<Page>& weak = (*cache)->pages[name];
      page = weak.lock();
      if (page == nullptr) {
        page = gc::make<Page>();
        page->number = number;
        page->tree = Tree(number, 3);
        weak = gc::Weak<Page>(page);
      }
      if ((*cache)->pages.size() > 30) (*cache)->pages.clear();
    }
    Check(page->number == number && IsTree(page->tree, number, 3), "what a weak pointer gave out");
    kept[random() % 4] = random() % 3 == 0 ? nullptr : page;
    Yield();
    Check(page->number == number && IsTree(page->tree, number, 3), "what a weak pointer gave");
    const gc::Weak<Page> own(page);
    Check(own.lock() == page, "a weak pointer of what is held");
  }
};

// --- Cleanups and destructors.

std::atomic<int64_t> made{0}, gone{0};

struct File {
  explicit File(uint64_t n) : number(n), outside(std::make_unique<uint64_t>(n)) { made += 1; }
  ~File() {
    Check(*outside == number, "malloc's memory of a finalized object");
    Check(alive != nullptr && IsTree(alive, alive->key, 2), "what is alive, for a destructor");
    Check(dead == nullptr || IsTree(dead, number, 2), "what is dead, for a destructor");
    gone += 1;
  }
  uint64_t number;
  std::unique_ptr<uint64_t> outside;
  gc::Ptr<Node> alive, dead;
  gc::Ptr<File> other;
  GC_FIELDS(File, alive, dead, other);
};

struct Afterlives {
  explicit Afterlives(Random&) {}
  // Never dead: a destructor finds it.
  static Node* Alive() {
    static auto* const alive = new gc::Root<Node>(Tree(3, 2));
    return *alive;
  }
  gc::Root<File> kept[4];
  void Turn(Random& random) {
    const uint64_t n = random() % 1000 + 1;
    File* f = gc::finalized<File>(n);
    f->alive = Alive();
    f->dead = Tree(n, 2);
    File* g = gc::finalized<File>(n + 1);
    g->alive = Alive();
    f->other = g;
    g->other = f;
    made += 2;
    Node* subject = gc::make<Node>();
    gc::cleanup(subject, [tree = gc::Ptr<Node>(Tree(n, 3)), text = gc::string("text"), n] {
      Check(IsTree(tree, n, 3) && text == "text", "what a cleanup holds");
      gone += 1;
    });
    Node* raw = Tree(n, 2);
    gc::Cleanup undo = gc::cleanup(
        subject,
        [n](Node* tree) {
          Check(IsTree(tree, n, 2), "what a cleanup is given");
          gone += 1;
        },
        raw);
    if (n % 2 == 0 && undo.stop()) gone += 1;
    gc::keep_alive(subject);
    File* const old = kept[n % 4];
    if (old != nullptr) {
      Check(IsTree(old->dead, old->number, 2), "a finalized object that is held");
      Check(old->other->number == old->number + 1, "the one that it holds");
    }
    kept[n % 4] = f;
  }
};

// --- Containers.

struct Bag {
  gc::vector<gc::string> texts;
  gc::hash_map<gc::Ptr<Node>, gc::string> by_node;
  gc::hash_map<gc::string, gc::Ptr<Node>> by_name;
  gc::slice<gc::Ptr<Node>> slice;
  gc::optional<gc::string> maybe;
  gc::variant<int64_t, gc::string, gc::Ptr<Node>> one;
  GC_FIELDS(Bag, texts, by_node, by_name, slice, maybe, one);
};

struct Containers {
  explicit Containers(Random&) {}
  gc::Root<Bag> bag = gc::make<Bag>();
  void Turn(Random& random) {
    const uint64_t n = random() % 64 + 1;
    const gc::string name(std::to_string(n));
    if (gc::Ptr<Node>* found = bag->by_name.find(name)) {
      Check(IsTree(*found, n, 2), "a map's value");
      const gc::string* back = bag->by_node.find(*found);
      Check(back != nullptr && *back == name, "a map's key");
      if (random() % 2 == 0) {
        bag->by_node.erase(*found);
        bag->by_name.erase(name);
      }
    } else {
      Node* tree = Tree(n, 2);
      bag->by_name[name] = tree;
      bag->by_node[tree] = name;
    }
    bag->texts.push_back(name + " in a vector");
    for (const gc::string& text : bag->texts) {
      Check(text.view().ends_with(" in a vector"), "a vector's text");
    }
    if (bag->texts.size() > 50) bag->texts = {};
    bag->slice = append(bag->slice, gc::Ptr<Node>(Tree(n, 2)));
    for (Node* node : bag->slice) Check(IsTree(node, node->key, 2), "a slice's tree");
    if (bag->slice.len() > 20) bag->slice = bag->slice.sub(10, 20);
    if (bag->maybe) Check(bag->maybe->view().starts_with("maybe"), "an optional");
    bag->maybe = gc::string("maybe ") + std::to_string(n);
    if (n % 5 == 0) bag->maybe = std::nullopt;
    if (gc::Ptr<Node>* node = bag->one.get_if<gc::Ptr<Node>>()) {
      Check(IsTree(*node, (*node)->key, 2), "a variant's tree");
    } else if (gc::string* text = bag->one.get_if<gc::string>()) {
      Check(text->view().starts_with("one"), "a variant's text");
    }
    switch (n % 3) {
      case 0:
        bag->one = int64_t{-1};
        break;
      case 1:
        bag->one = gc::string("one ") + std::to_string(n);
        break;
      default:
        bag->one = gc::Ptr<Node>(Tree(n, 2));
    }
  }
};

// --- The only pointer, handed to another goroutine in a local by reference, and taken out of it.

struct ByReference {
  explicit ByReference(Random&) {}
  void Turn(Random& random) {
    Node* only = Tree(11, 3);
    Node* back = nullptr;
    const bool yields = random() % 2 == 0;
    WaitGroup done;
    done.Add(1);
    Go([&] {
      Node* mine = std::exchange(only, nullptr);
      if (yields) Yield();
      Check(IsTree(mine, 11, 3), "what was taken by reference");
      back = mine;
      done.Done();
    });
    done.Wait();
    Check(only == nullptr && IsTree(back, 11, 3), "what was given back by reference");
  }
};

// --- Loops without a call, which are preempted in place, with pointers in registers.

struct InPlace {
  explicit InPlace(Random&) {}
  void Turn(Random&) {
    Node* tree = Tree(13, 4);
    Node *left = tree->left, *right = tree->right;
    tree = nullptr;
    uint64_t sum = 0;
    for (int i = 0; i < 2'000'000; ++i) {
      Node* const l = left;
      left = right;
      right = l;
      sum += left->key;
    }
    Check(sum == 1'000'000ull * 26 + 1'000'000ull * 27, "a loop's sum");
    Check(IsTree(left, 26, 3) && IsTree(right, 27, 3), "what a loop has in registers");
  }
};

// --- Blocking calls, with a tree in the frame above and a Root within.

struct Blocking {
  explicit Blocking(Random&) {}
  void Turn(Random& random) {
    Node* tree = Tree(17, 4);
    gc::Root<Node> carried = Tree(18, 4);
    gc::Root<Node> moved;
    const auto pause = std::chrono::microseconds(random() % 3000);
    BlockingCall([&] {
      std::this_thread::sleep_for(pause);
      moved = carried;
      carried = nullptr;
    });
    Check(IsTree(tree, 17, 4), "a tree above a blocking call");
    Check(IsTree(moved, 18, 4), "a Root in a blocking call");
  }
};

// --- Threads that are not the runtime's: attached ones, and ones that move Roots.

struct Threads {
  explicit Threads(Random&) {}
  void Turn(Random&) {
    gc::Root<Node> a = Tree(19, 3), b;
    const Channel<gc::Ptr<Node>> from_thread;
    std::thread attached([&] {
      gc::Root<Node> kept;
      for (uint64_t i = 1; i <= 4; ++i) {
        AttachedThread here;
        if (kept.get() != nullptr) Check(IsTree(kept, i - 1, 3), "a Root of an attached thread");
        gc::Ptr<Node> mine = Tree(i, 3);
        from_thread.Send(mine);
        Check(IsTree(mine, i, 3), "a tree of an attached thread");
        kept = mine.get();
      }
    });
    std::thread foreign([&] {
      for (int i = 0; i < 501; ++i) {
        b = a;
        a = nullptr;
        std::swap(a, b);
        b = a;
        a = b;
      }
    });
    for (uint64_t i = 1; i <= 4; ++i) Check(IsTree(*from_thread.Recv(), i, 3), "a thread's tree");
    BlockingCall([&] {
      attached.join();
      foreign.join();
    });
    Check(IsTree(a, 19, 3) || IsTree(b, 19, 3), "what a thread moved from Root to Root");
  }
};

// --- Many that wait, each with a tree that its stack alone holds.

struct Crowd {
  explicit Crowd(Random&) {}
  void Turn(Random&) {
    constexpr int kGoroutines = 40;
    const Channel<int> go_on;
    WaitGroup ready, done;
    ready.Add(kGoroutines);
    done.Add(kGoroutines);
    for (uint64_t i = 1; i <= kGoroutines; ++i) {
      Go([&, i, tree = gc::Ptr<Node>(Tree(i, 2))] {
        Node* own = Tree(i, 2);
        ready.Done();
        (void)go_on.Recv();
        Check(IsTree(tree, i, 2) && IsTree(own, i, 2), "a tree of one who waits");
        done.Done();
      });
    }
    ready.Wait();
    const uint64_t cycle = gc::GetStats().cycles;
    while (gc::GetStats().cycles < cycle + 2 && !over.load()) Yield();
    go_on.Close();
    done.Wait();
  }
};

// --- And the number of Ps.

struct Procs {
  explicit Procs(Random&) {}
  void Turn(Random& random) {
    (void)sched::SetProcs({.procs = static_cast<int>(random() % 4 + 1)});
    const uint64_t cycle = gc::GetStats().cycles;
    while (gc::GetStats().cycles < cycle + 2 && !over.load()) Yield();
  }
};

struct Kind {
  const char* name;
  int how_many;
  void (*run)(uint64_t seed, std::atomic<int64_t>& turns);
};
template <typename M>
void Run(uint64_t seed, std::atomic<int64_t>& turns) {
  Random random(seed);
  M mutator(random);
  while (!over.load(std::memory_order_relaxed)) {
    mutator.Turn(random);
    turns.fetch_add(1, std::memory_order_relaxed);
    Yield();
  }
}
const Kind kKinds[] = {
    {"trees", 2, &Run<Trees>},
    {"a chain", 1, &Run<Chain>},
    {"channels", 2, &Run<Channels>},
    {"selects", 1, &Run<Selects>},
    {"timers", 1, &Run<Timers>},
    {"contexts", 1, &Run<Contexts>},
    {"closures", 1, &Run<Closures>},
    {"weak pointers", 2, &Run<Weaks>},
    {"cleanups and destructors", 1, &Run<Afterlives>},
    {"containers", 2, &Run<Containers>},
    {"hand-offs by reference", 2, &Run<ByReference>},
    {"loops preempted in place", 1, &Run<InPlace>},
    {"blocking calls", 1, &Run<Blocking>},
    {"foreign threads", 1, &Run<Threads>},
    {"a crowd that waits", 1, &Run<Crowd>},
    {"changes of GOMAXPROCS", 1, &Run<Procs>},
};

TEST(GcStressTest, EveryKindOfMutatorKeepsItsDataBesideCyclesBackToBack) {
  StartCheckedCollector();
  const uint64_t seed = std::random_device()();
  const char* seconds = std::getenv("PLIMSOLL_TEST_SECONDS");
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::seconds(seconds ? std::atoi(seconds) : 0);
  std::atomic<int64_t> turns[std::size(kKinds)] = {};
  WaitGroup done;
  uint64_t number = seed;
  for (size_t k = 0; k < std::size(kKinds); ++k) {
    for (int i = 0; i < kKinds[k].how_many; ++i) {
      done.Add(1);
      Go([&, k, mine = ++number] {
        kKinds[k].run(mine, turns[k]);
        done.Done();
      });
    }
  }
  const auto all_had_a_turn = [&] {
    for (const auto& t : turns) {
      if (t.load(std::memory_order_relaxed) == 0) return false;
    }
    return true;
  };
  const gc::Stats before = gc::GetStats();
  uint64_t most = 0;
  for (int cycles = 0;
       cycles < kCycles || !all_had_a_turn() || std::chrono::steady_clock::now() < until;
       ++cycles) {
    gc::Collect();
    most = std::max(most, gc::GetStats().live_objects);
    Yield();
  }
  over.store(true);
  done.Wait();
  // What the mutators let go of goes, and what was due for it is done.
  Weaks::cache = nullptr;
  const gc::Stats after = gc::GetStats();
  std::printf(
      "%llu cycles, %llu restarts, %llu MiB allocated, at most %llu objects live\n",
      static_cast<unsigned long long>(after.cycles - before.cycles),
      static_cast<unsigned long long>(after.restarts - before.restarts),
      static_cast<unsigned long long>((after.allocated_bytes - before.allocated_bytes) >> 20),
      static_cast<unsigned long long>(most));
  for (size_t k = 0; k < std::size(kKinds); ++k) {
    std::printf("  %s: %lld turns\n", kKinds[k].name, static_cast<long long>(turns[k].load()));
  }
  // Found again after its destructor: a stale word of a stack, which may be one of a caller's,
  // holds it for a cycle.
  std::printf("  %lld of %lld cleanups and destructors have run, %llu objects were found again\n",
              static_cast<long long>(gone.load()), static_cast<long long>(made.load()),
              static_cast<unsigned long long>(after.resurrected - before.resurrected));
  EXPECT_EQ(wrong.load(), 0) << first_wrong.load() << ", seed " << seed;
  EXPECT_GT(gone.load(), 0);
}

}  // namespace
}  // namespace plimsoll
