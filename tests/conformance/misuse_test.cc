// What our primitives do with misuse: Go's texts; a Panic where Go's is recoverable, else the end
// of the process; each with the caller's file and line. misuse.md is this table for readers.

#include <unistd.h>

#include <functional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/channel_peek.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/context/context.h"
#include "plimsoll/runtime/context/context_ops.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sync/cond.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/once.h"
#include "plimsoll/runtime/sync/rw_mutex.h"
#include "plimsoll/runtime/sync/semaphore.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/runtime/time/ticker.h"
#include "plimsoll/runtime/time/timer.h"

namespace plimsoll {
namespace {

using internal::ChannelPeek;

struct Misuse {
  const char* what;
  const char* text;
  unsigned (*line_of)(bool commit);  // commits it, or not; the line on which it does
};

Channel<int> Closed() {
  const Channel<int> channel(1);
  channel.Close();
  return channel;
}

constexpr ContextKey<int> kKey("key");
using Func = std::function<void()>;

constexpr Misuse kRecoverable[] = {
    {"Send on a closed channel", "send on closed channel",
     [](bool commit) -> unsigned {
       const Channel<int> closed = Closed();
       if (commit) closed.Send(1);
       return __LINE__ - 1;
     }},
    {"Send on a closed SendChannel", "send on closed channel",
     [](bool commit) -> unsigned {
       const SendChannel<int> closed = Closed();
       if (commit) closed.Send(1);
       return __LINE__ - 1;
     }},
    {"TrySend on a closed channel", "send on closed channel",
     [](bool commit) -> unsigned {
       const Channel<int> closed = Closed();
       int value = 1;
       if (commit) (void)closed.TrySend(value);
       return __LINE__ - 1;
     }},
    {"TrySendFor on a closed channel", "send on closed channel",
     [](bool commit) -> unsigned {
       const Channel<int> closed = Closed();
       int value = 1;
       if (commit) (void)closed.TrySendFor(value, absl::Hours(1));
       return __LINE__ - 1;
     }},
    {"OnSend to a closed channel, beside Default", "send on closed channel",
     [](bool commit) -> unsigned {
       const Channel<int> closed = Closed();
       if (commit) Select(OnSend(closed, 1), Default());
       return __LINE__ - 1;
     }},
    {"Send on a closed channel under a context", "send on closed channel",
     [](bool commit) -> unsigned {
       const Channel<int> closed = Closed();
       if (commit) Send(Background(), closed, 1).IgnoreError();
       return __LINE__ - 1;
     }},
    {"Close of a channel under a parked Send", "send on closed channel",
     [](bool commit) -> unsigned {
       const Channel<int> channel;
       if (commit) {
         Go([channel] {
           ChannelPeek::AwaitSenders(channel, 1);
           channel.Close();
         });
       }
       if (commit) channel.Send(1);
       return __LINE__ - 1;
     }},
    {"Close of a closed channel", "close of closed channel",
     [](bool commit) -> unsigned {
       const Channel<int> closed = Closed();
       if (commit) closed.Close();
       return __LINE__ - 1;
     }},
    {"Close of the nil channel", "close of nil channel",
     [](bool commit) -> unsigned {
       if (commit) Channel<int>(nullptr).Close();
       return __LINE__ - 1;
     }},
    {"a channel of negative capacity", "makechan: size out of range",
     [](bool commit) -> unsigned {
       if (commit) (void)Channel<int>(-1);
       return __LINE__ - 1;
     }},
    {"a channel of a capacity beyond memory", "makechan: size out of range",
     [](bool commit) -> unsigned {
       if (commit) (void)Channel<int>(size_t{1} << 60);
       return __LINE__ - 1;
     }},

    {"WaitGroup.Done too often", "sync: negative WaitGroup counter",
     [](bool commit) -> unsigned {
       WaitGroup group;
       if (commit) group.Done();
       return __LINE__ - 1;
     }},
    {"WaitGroup.Add that goes below zero", "sync: negative WaitGroup counter",
     [](bool commit) -> unsigned {
       WaitGroup group;
       group.Add(1);
       if (commit) group.Add(-2);
       return __LINE__ - 1;
     }},
    {"Semaphore.Release of more than is held", "semaphore: released more than held",
     [](bool commit) -> unsigned {
       Semaphore semaphore(2);
       if (commit) semaphore.Release();
       return __LINE__ - 1;
     }},
    {"Once.Do of nil", "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       Once once;
       if (commit) once.Do(Func());
       return __LINE__ - 1;
     }},
    {"OnceFunc of nil", "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       const auto made = OnceFunc(Func());
       if (commit) made();
       return __LINE__ - 2;
     }},
    {"OnceValue of nil", "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       const auto made = OnceValue(static_cast<int (*)()>(nullptr));
       if (commit) (void)made();
       return __LINE__ - 2;
     }},

    {"WithCancel of nil", "cannot create context from nil parent",
     [](bool commit) -> unsigned {
       if (commit) (void)WithCancel(Context());
       return __LINE__ - 1;
     }},
    {"WithCancelCause of nil", "cannot create context from nil parent",
     [](bool commit) -> unsigned {
       if (commit) (void)WithCancelCause(Context());
       return __LINE__ - 1;
     }},
    {"WithDeadline of nil", "cannot create context from nil parent",
     [](bool commit) -> unsigned {
       if (commit) (void)WithDeadline(Context(), absl::Now());
       return __LINE__ - 1;
     }},
    {"WithDeadlineCause of nil", "cannot create context from nil parent",
     [](bool commit) -> unsigned {
       if (commit) (void)WithDeadlineCause(Context(), absl::Now(), absl::AbortedError("late"));
       return __LINE__ - 1;
     }},
    {"WithTimeout of nil", "cannot create context from nil parent",
     [](bool commit) -> unsigned {
       if (commit) (void)WithTimeout(Context(), absl::Hours(1));
       return __LINE__ - 1;
     }},
    {"WithTimeoutCause of nil", "cannot create context from nil parent",
     [](bool commit) -> unsigned {
       if (commit) (void)WithTimeoutCause(Context(), absl::Hours(1), absl::AbortedError("late"));
       return __LINE__ - 1;
     }},
    {"WithValue of nil", "cannot create context from nil parent",
     [](bool commit) -> unsigned {
       if (commit) (void)WithValue(Context(), kKey, 1);
       return __LINE__ - 1;
     }},
    {"WithoutCancel of nil", "cannot create context from nil parent",
     [](bool commit) -> unsigned {
       if (commit) (void)WithoutCancel(Context());
       return __LINE__ - 1;
     }},
    {"AfterFunc of the nil context",
     "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       if (commit) (void)AfterFunc(Context(), [] {});
       return __LINE__ - 1;
     }},
    {"Done of the nil context", "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       if (commit) (void)Context().Done();
       return __LINE__ - 1;
     }},
    {"Err of the nil context", "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       if (commit) Context().Err().IgnoreError();
       return __LINE__ - 1;
     }},
    {"Cause of the nil context", "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       if (commit) Context().Cause().IgnoreError();
       return __LINE__ - 1;
     }},
    {"Deadline of the nil context",
     "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       if (commit) (void)Context().Deadline();
       return __LINE__ - 1;
     }},
    {"Value of the nil context", "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       if (commit) (void)Context().Value(kKey);
       return __LINE__ - 1;
     }},
    {"OnDone of the nil context",
     "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       if (commit) Select(OnDone(Context()), Default());
       return __LINE__ - 1;
     }},
    {"Recv under the nil context",
     "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       if (commit) Recv(Context(), Closed()).IgnoreError();
       return __LINE__ - 1;
     }},
    {"Send under the nil context",
     "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       if (commit) Send(Context(), Channel<int>(1), 1).IgnoreError();
       return __LINE__ - 1;
     }},
    {"Sleep under the nil context",
     "runtime error: invalid memory address or nil pointer dereference",
     [](bool commit) -> unsigned {
       if (commit) Sleep(Context(), absl::Hours(1)).IgnoreError();
       return __LINE__ - 1;
     }},

    {"a Ticker of zero", "non-positive interval for NewTicker",
     [](bool commit) -> unsigned {
       if (commit) (void)Ticker(absl::ZeroDuration());
       return __LINE__ - 1;
     }},
    {"a Ticker of less than zero", "non-positive interval for NewTicker",
     [](bool commit) -> unsigned {
       if (commit) (void)Ticker(-absl::Seconds(1));
       return __LINE__ - 1;
     }},
    {"Ticker.Reset to zero", "non-positive interval for Ticker.Reset",
     [](bool commit) -> unsigned {
       Ticker ticker(absl::Hours(1));
       if (commit) ticker.Reset(absl::ZeroDuration());
       return __LINE__ - 1;
     }},
};

// These are functions with a name, for clang's analysis: it is right, and told to look away.
unsigned UnlockMutex(bool commit) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Mutex mu;
  mu.lock();
  mu.unlock();
  if (commit) mu.unlock();
  return __LINE__ - 1;
}

unsigned UnlockRWMutex(bool commit) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  RWMutex mu;
  if (commit) mu.unlock();
  return __LINE__ - 1;
}

unsigned UnlockRWMutexOfReaders(bool commit) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  RWMutex mu;
  mu.lock_shared();
  if (commit) mu.unlock();
  return __LINE__ - 1;
}

unsigned UnlockSharedRWMutex(bool commit) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  RWMutex mu;
  if (commit) mu.unlock_shared();
  return __LINE__ - 1;
}

unsigned UnlockSharedRWMutexOfAWriter(bool commit) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  RWMutex mu;
  mu.lock();
  if (commit) mu.unlock_shared();
  return __LINE__ - 1;
}

unsigned WaitOnUnlockedMutex(bool commit) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Mutex mu;
  Cond cond;
  if (commit) cond.Wait(mu);
  return __LINE__ - 1;
}

unsigned WaitForOnUnlockedMutex(bool commit) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Mutex mu;
  Cond cond;
  if (commit) cond.Wait(mu, [] { return false; });
  return __LINE__ - 1;
}

constexpr Misuse kFatal[] = {
    {"unlock of an unlocked Mutex", "sync: unlock of unlocked mutex", UnlockMutex},
    {"unlock of an unlocked RWMutex", "sync: Unlock of unlocked RWMutex", UnlockRWMutex},
    {"unlock of an RWMutex that readers hold", "sync: Unlock of unlocked RWMutex",
     UnlockRWMutexOfReaders},
    {"unlock_shared of an unlocked RWMutex", "sync: RUnlock of unlocked RWMutex",
     UnlockSharedRWMutex},
    {"unlock_shared of an RWMutex that a writer holds", "sync: RUnlock of unlocked RWMutex",
     UnlockSharedRWMutexOfAWriter},
    {"Cond.Wait on an unlocked Mutex", "sync: unlock of unlocked mutex", WaitOnUnlockedMutex},
    {"Cond.Wait for a predicate on an unlocked Mutex", "sync: unlock of unlocked mutex",
     WaitForOnUnlockedMutex},
    {"Go of a null pointer", "go of nil func value",
     [](bool commit) -> unsigned {
       if (commit) Go(static_cast<void (*)()>(nullptr));
       return __LINE__ - 1;
     }},
    {"Go of an empty function", "go of nil func value",
     [](bool commit) -> unsigned {
       if (commit) Go(Func());
       return __LINE__ - 1;
     }},
    {"TryGo of an empty function", "go of nil func value",
     [](bool commit) -> unsigned {
       if (commit) (void)TryGo(Func());
       return __LINE__ - 1;
     }},
    {"AfterFunc of an empty function", "go of nil func value",
     [](bool commit) -> unsigned {
       if (commit) (void)AfterFunc(absl::Hours(1), nullptr);
       return __LINE__ - 1;
     }},
    {"a context's AfterFunc of an empty function", "go of nil func value",
     [](bool commit) -> unsigned {
       if (commit) (void)AfterFunc(Background(), nullptr);
       return __LINE__ - 1;
     }},
};

TEST(MisuseTest, WhatGoRecoversFromIsAPanicWithItsTextAndTheCallersLine) {
  for (const Misuse& misuse : kRecoverable) {
    // No SCOPED_TRACE: that is the thread's, and some of these park.
    try {
      misuse.line_of(/*commit=*/true);
      ADD_FAILURE() << misuse.what << ": no panic";
    } catch (const Panic& panic) {
      EXPECT_STREQ(panic.what(), misuse.text) << misuse.what;
      EXPECT_EQ(panic.where().line(), misuse.line_of(/*commit=*/false)) << misuse.what;
      EXPECT_TRUE(
          std::string_view(panic.where().file_name()).ends_with("tests/conformance/misuse_test.cc"))
          << misuse.what << ": " << panic.where().file_name();
    }
  }
}

TEST(MisuseDeathTest, WhatGoDoesNotRecoverFromEndsTheProcessAndTellsTheCallersLine) {
  for (const Misuse& misuse : kFatal) {
    SCOPED_TRACE(misuse.what);
    const std::string told = std::string("fatal error: ") + misuse.text +
                             "\n\\[at [^\n]*tests/conformance/misuse_test\\.cc:" +
                             std::to_string(misuse.line_of(/*commit=*/false)) + "\\]\n";
    EXPECT_EXIT(
        {
          try {
            misuse.line_of(/*commit=*/true);
          } catch (...) {  // not even this
          }
          _exit(0);
        },
        testing::ExitedWithCode(2), told);
  }
}

}  // namespace
}  // namespace plimsoll
