// Ends badly in the way that its argument names: for tests that read what a crash says.
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/gc/cleanup.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/finalized.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/net/address.h"
#include "plimsoll/runtime/net/listener.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sched/attach.h"
#include "plimsoll/runtime/sync/cond.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/rw_mutex.h"
#include "plimsoll/runtime/sync/semaphore.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/runtime/time/sleep.h"

namespace {

using plimsoll::Channel;
using plimsoll::Go;

struct Collected {
  int64_t words[2];
  GC_NOSCAN(Collected);
};
struct Linked {
  plimsoll::gc::Ptr<Linked> next;
  char text[1000];
  GC_FIELDS(Linked, next);
};
__attribute__((noinline)) void Boom() { throw std::runtime_error("boom"); }
struct Throws {
  int64_t words[2];
  GC_NOSCAN(Throws);
  ~Throws() { Boom(); }  // it is noexcept: the end, all the same
};

__attribute__((noinline)) int Recurse(int n) {
  volatile char room[200];
  room[n % 200] = 1;
  return n == -1 ? 0 : Recurse(n + 1) + room[n % 200];
}

__attribute__((noinline)) int UseStack(int kib) {
  volatile char room[1024];
  room[0] = static_cast<char>(kib);
  return kib == 0 ? 0 : UseStack(kib - 1) + room[0];
}

std::atomic<long> spins[2];

__attribute__((noinline)) void Spin(std::atomic<long>* count) {
  for (;;) count->store(count->load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

__attribute__((noinline, no_sanitize("undefined"))) void Copy(void* to) {
  memcpy(to, "0123456789", 10);
  asm volatile("");
}

__attribute__((noinline, no_sanitize("undefined"))) void Call(void (*f)()) {
  f();
  asm volatile("");
}

__attribute__((noinline, no_sanitize("undefined"))) void Divide(int by) {
  volatile int result = 7 / by;
  (void)result;
}

__attribute__((noinline)) void Park(const Channel<int>& never) {
  (void)never.Recv();
  asm volatile("");
}

void QuitWhenBothSpin() {
  std::thread([] {
    while (spins[0] == 0 || spins[1] == 0) usleep(1000);
    kill(getpid(), SIGQUIT);
  }).detach();
}

// A goroutine for each reason to wait, labelled by it; then SIGQUIT, when all wait.
void WaitInEveryWay() {
  static Channel<int> empty, full;
  static plimsoll::Mutex mu, cond_mu;
  static plimsoll::RWMutex rw, rw_read;
  static plimsoll::Cond cond;
  static plimsoll::WaitGroup group;
  static plimsoll::Semaphore semaphore(0);
  static Channel<int> no_channel(nullptr);
  mu.lock();
  rw.lock();
  rw_read.lock_shared();
  group.Add(1);
  Go([] { (void)empty.Recv(); }, {.label = "chan receive"});
  Go([] { full.Send(1); }, {.label = "chan send"});
  Go([] { (void)no_channel.Recv(); }, {.label = "chan receive (nil chan)"});
  Go([] { no_channel.Send(1); }, {.label = "chan send (nil chan)"});
  Go([] { plimsoll::Select(plimsoll::OnRecv(empty, [](auto&&) {})); }, {.label = "select"});
  Go([] { plimsoll::Select(); }, {.label = "select (no cases)"});
  Go([] { mu.lock(); }, {.label = "sync.Mutex.Lock"});
  Go([] { rw.lock_shared(); }, {.label = "sync.RWMutex.RLock"});
  Go([] { rw_read.lock(); }, {.label = "sync.RWMutex.Lock"});
  Go([] { group.Wait(); }, {.label = "sync.WaitGroup.Wait"});
  Go(
      [] {
        cond_mu.lock();
        cond.Wait(cond_mu);
      },
      {.label = "sync.Cond.Wait"});
  Go([] { semaphore.Acquire(); }, {.label = "semacquire"});
  Go([] { plimsoll::Sleep(absl::Hours(1)); }, {.label = "sleep"});
  Go(
      [] {
        auto listener = plimsoll::net::Listen(*plimsoll::net::Address::Parse("127.0.0.1:0"));
        if (listener.ok()) (void)listener->Accept();
      },
      {.label = "IO wait"});
  Go(
      [] {
        // By now each of the others has run once and waits; the last ones that run are this one
        // and main, which waits too.
        for (int i = 0; i < 1000; ++i) plimsoll::Yield();
        kill(getpid(), SIGQUIT);
      },
      {.label = "quitter"});
}

// What a program's own handler does that was there before Main.
void OwnHandler(int, siginfo_t* info, void*) {
  static const char text[] = "the program's own handler\n";
  (void)!write(2, text, sizeof(text) - 1);
  if (info->si_addr == nullptr) _exit(7);
  const auto page = reinterpret_cast<uintptr_t>(info->si_addr) & ~uintptr_t{4095};
  mprotect(reinterpret_cast<void*>(page), 4096, PROT_READ | PROT_WRITE);
}

void Run(const std::string& what) {
  Channel<int> never;
  Channel<int> started;
  Go(
      [never, started] {
        started.Send(1);
        Park(never);
      },
      {.label = "waiter"});
  (void)started.Recv();
  if (what == "overflow") {
    Go([] { Recurse(0); }, {.label = "recurse"});
  } else if (what == "null") {
    Go([] { Copy(nullptr); });
  } else if (what == "wild") {
    Go([] { Copy(reinterpret_cast<void*>(0xdeadbeef000)); });
  } else if (what == "call") {
    Go([] { Call(nullptr); });
  } else if (what == "divide") {
    Go([] { Divide(0); });
  } else if (what == "panic") {
    Go([] {
      Channel<int> closed(1);
      closed.Close();
      closed.Send(1);
    });
  } else if (what == "throw") {
    Go([] { throw std::runtime_error("boom"); }, {.label = "thrower"});
  } else if (what == "throw_thread") {
    std::thread([] { throw std::runtime_error("boom"); }).join();
  } else if (what == "abort") {
    Go([] { abort(); });
  } else if (what == "unlock") {
    static plimsoll::Mutex mu;
    mu.unlock();
  } else if (what == "foreign") {
    std::thread([] { Copy(nullptr); }).join();
  } else if (what == "deadlock") {
    plimsoll::WaitGroup group;
    group.Add(1);
    group.Wait();
  } else if (what == "number") {
    Go([] { throw std::pair<int, const char*>(7, "x"); });
  } else if (what == "terminate") {
    Go([] { std::terminate(); });
  } else if (what == "two") {
    for (int i = 0; i < 2; ++i) {
      Go([i] {
        spins[i] = 1;
        while (spins[1 - i] == 0) {
        }
        Copy(nullptr);
      });
    }
  } else if (what == "own_handler") {
    Go([] { Copy(nullptr); });
  } else if (what == "own_handler_overflow") {
    Go([] { Recurse(0); });
  } else if (what == "mended") {
    void* page = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Go([page] {
      Copy(page);
      _exit(0);
    });
  } else if (what == "quit") {
    Go([] { plimsoll::Sleep(absl::Hours(1)); });
    for (std::atomic<long>& s : spins) {
      Go([&s] { Spin(&s); }, {.label = "spinner"});
    }
    QuitWhenBothSpin();
  } else if (what == "reasons") {
    WaitInEveryWay();
  } else if (what == "busy") {
    Go([] { Spin(&spins[0]); });
    plimsoll::Sleep(absl::Milliseconds(120));
    _exit(0);
  } else if (what == "stacks") {
    for (int i = 0; i < 10; ++i) {
      Channel<int> ended;
      Go(
          [ended] {
            UseStack(100);
            ended.Close();
          },
          {.label = "deep"});
      (void)ended.Recv();
      // It has closed the channel, and ends.
      while (plimsoll::NumGoroutine() > 2) plimsoll::Yield();
    }
    return;
  } else if (what == "wedged") {
    // Both Ps are taken by goroutines that hold locks which a dump must not want.
    Go([] {
      dl_iterate_phdr(
          [](dl_phdr_info*, size_t, void*) {
            Spin(&spins[0]);
            return 0;
          },
          nullptr);
    });
    Go([] {
      flockfile(stderr);
      flockfile(stdout);
      Spin(&spins[1]);
    });
    QuitWhenBothSpin();
  } else if (what == "cleanup" || what == "destructor") {
    // The object is on the stack of a goroutine that has ended when the cycle looks.
    Channel<int> made;
    Go([what, made] {
      if (what == "cleanup") {
        plimsoll::gc::cleanup(plimsoll::gc::make<Collected>(),
                              [] { throw std::runtime_error("boom"); });
      } else {
        (void)plimsoll::gc::finalized<Throws>();
      }
      made.Close();
    });
    (void)made.Recv();
    for (int i = 0; i < 100; ++i) {
      plimsoll::gc::Collect();
      plimsoll::Yield();
    }
  } else if (what == "collected_full") {
    // Everything is live, and the kernel gives no more.
    rlimit few = {};
    few.rlim_cur = few.rlim_max = 256 << 20;
    (void)setrlimit(RLIMIT_DATA, &few);
    plimsoll::gc::Root<Linked> all;
    for (;;) {
      Linked* one = plimsoll::gc::make<Linked>();
      one->next = all.get();
      all = one;
    }
  } else if (what == "attached_throw") {
    std::thread([] {
      plimsoll::AttachedThread attached("worker");
      Boom();
    }).detach();
  } else if (what == "attached_overflow") {
    std::thread([] {
      plimsoll::AttachedThread attached("worker");
      Recurse(0);
    }).detach();
  } else if (what == "attached_quit") {
    std::thread([never, started] {
      plimsoll::AttachedThread attached("sleeper");
      started.Send(1);
      Park(never);
    }).detach();
    (void)started.Recv();
    for (auto& count : spins) {
      std::thread([&count] {
        plimsoll::AttachedThread attached("spinner");
        Spin(&count);
      }).detach();
    }
    QuitWhenBothSpin();
  }
  Park(never);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "mended" || what.starts_with("own_handler")) {
    struct sigaction action = {};
    action.sa_sigaction = OwnHandler;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
  }
  return plimsoll::Main(argc, argv, [&] { Run(what); });
}
