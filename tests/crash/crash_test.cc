// Reads what a program says when it ends badly: Go's words, the goroutines, their frames.

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <regex>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/sanitizer.h"

namespace plimsoll {
namespace {

struct Ending {
  int status;        // the exit status, or 128 and the signal's number
  std::string text;  // with addresses as 0xN, lines as N, and each frame's place as "@"
};

Ending EndingOf(const std::string& what, const std::string& environment = "") {
  const std::string command = "PLIMSOLL_LOG=off GOMAXPROCS=2 " + environment +
                              " timeout -k 1 20 tests/crash/crash_program " + what + " 2>&1";
  FILE* out = popen(command.c_str(), "r");
  Ending ending{-1, ""};
  if (out == nullptr) return ending;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), out)) > 0;) ending.text.append(buffer, n);
  const int status = pclose(out);
  ending.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ending.text = std::regex_replace(ending.text, std::regex("\n\t[^\n]*(/|\\.cc:)[^\n]*"), "\n\t@");
  ending.text = std::regex_replace(ending.text, std::regex("0x[0-9a-f]+"), "0xN");
  ending.text = std::regex_replace(ending.text, std::regex("(\n\\[at [^\n]*):[0-9]+\\]"), "$1:N]");
  // Main is 1. The others' numbers depend on which P they were made.
  ending.text = std::regex_replace(ending.text, std::regex("\ngoroutine ([2-9]|[1-9][0-9]+) "),
                                   "\ngoroutine N ");
  return ending;
}

// The same, of a program that is to end with exit code 2 and these as its first words.
Ending Dies(const std::string& what, std::string_view first = "",
            const std::string& environment = "") {
  Ending e = EndingOf(what, environment);
  EXPECT_EQ(e.status, 2) << what << " " << environment;
  EXPECT_EQ(e.text.substr(0, first.size()), first)
      << what << " " << environment << ": " << e.text.substr(0, 2000);
  return e;
}

std::string Last(const std::string& text, size_t bytes) {
  return text.size() <= bytes ? text : text.substr(text.size() - bytes);
}

bool Has(const Ending& e, std::string_view part) { return e.text.find(part) != std::string::npos; }

int Count(const Ending& e, std::string_view part) {
  int n = 0;
  for (size_t at = 0; (at = e.text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

// The frames of the goroutine whose header this is, up to the next empty line.
std::string FramesOf(const Ending& e, const std::string& header) {
  const size_t at = e.text.find(header);
  if (at == std::string::npos) return "no such goroutine";
  const size_t start = at + header.size();
  return e.text.substr(start, e.text.find("\n\n", start) - start);
}

class FaultTest : public testing::Test {
 protected:
  void SetUp() override {
    if (base::kAsan || base::kTsan) GTEST_SKIP() << "faults are the sanitizer's to report";
  }
};

constexpr char kWaiter[] =
    "goroutine N [chan receive] {\"label\": \"waiter\"}:\n"
    "(anonymous namespace)::Park(...)\n\t@\n"
    "(anonymous namespace)::Run::{lambda#1}::operator()(...)\n\t@\n"
    "created by (anonymous namespace)::Run in goroutine 1\n\t@\n";

// Channels are headers: how many of their frames there are is the optimizer's business.
std::string WithoutChannel(std::string text) {
  return std::regex_replace(text, std::regex("plimsoll::(Recv|Send)Side<[^\n]*\n\t@\n"), "");
}

TEST_F(FaultTest, AnOverflowNamesItsGoroutineAndShowsBothEndsOfItsStack) {
  const Ending e = Dies("overflow",
                        "runtime: goroutine stack exceeds 245760-byte limit\n"
                        "runtime: sp=0xN stack=[0xN, 0xN]\n"
                        "fatal error: stack overflow\n"
                        "\n"
                        "goroutine N [running] {\"label\": \"recurse\"}:\n"
                        "(anonymous namespace)::Recurse(...)\n\t@\n"
                        "(anonymous namespace)::Recurse(...)\n\t@\n");
  EXPECT_TRUE(std::regex_search(e.text, std::regex("\n\\.\\.\\.[0-9]+ frames elided\\.\\.\\.\n")));
  EXPECT_TRUE(Has(e,
                  "(anonymous namespace)::Recurse(...)\n\t@\n"
                  "(anonymous namespace)::Run::{lambda#2}::operator()(...)\n\t@\n"
                  "created by (anonymous namespace)::Run in goroutine 1\n\t@\n"))
      << Last(e.text, 2000);
  EXPECT_TRUE(Has(e, "{\"label\": \"waiter\"}:\n")) << Last(e.text, 2000);
  // All of its pages were touched; main's stack and the waiter's come after it.
  EXPECT_TRUE(std::regex_search(
      e.text,
      std::regex("\nstacks, the deepest first, to a page of [0-9]+ bytes:\n"
                 "\tgoroutine [0-9]+: 240 KiB of 240 KiB \\{\"label\": \"recurse\"\\}\n"
                 "(\tgoroutine [0-9]+: [0-9]+ KiB of [0-9]+ KiB.*\n)*"
                 "\tgoroutine [0-9]+: [0-9]+ KiB of 240 KiB \\{\"label\": \"waiter\"\\}\n")))
      << Last(e.text, 2000);
  EXPECT_TRUE(e.text.ends_with(
      "\n\nruntime: Go(f, {.stack = plimsoll::KiB(512)}) gives it twice as much; "
      "plimsoll::StackHighWater() and PLIMSOLL_DEBUG=stackreport=1 tell how deep stacks get\n"))
      << Last(e.text, 2000);
}

TEST_F(FaultTest, AFaultInTheFirstPageIsANilPointersPanic) {
  const Ending e = Dies("null",
                        "panic: runtime error: invalid memory address or nil pointer dereference\n"
                        "[signal SIGSEGV: segmentation violation code=0xN addr=0xN pc=0xN]\n"
                        "\n"
                        "goroutine N [running]:\n");
  // Within libc's memcpy or, where the compiler made moves of it, in the function itself.
  EXPECT_TRUE(Has(e,
                  "(anonymous namespace)::Copy(...)\n\t@\n"
                  "(anonymous namespace)::Run::{lambda#3}::operator()(...)\n\t@\n"
                  "created by (anonymous namespace)::Run in goroutine 1\n\t@\n"))
      << e.text;
  EXPECT_FALSE(Has(e, "waiter")) << "only the one that panicked is shown";
}

TEST_F(FaultTest, AFaultElsewhereIsAnUnexpectedAddressWithAllGoroutines) {
  const Ending e = Dies("wild",
                        "unexpected fault address 0xN\n"
                        "fatal error: fault\n"
                        "[signal SIGSEGV: segmentation violation code=0xN addr=0xN pc=0xN]\n");
  EXPECT_TRUE(Has(e, "(anonymous namespace)::Copy(...)")) << e.text;
  EXPECT_TRUE(Has(e, "{\"label\": \"waiter\"}:\n")) << e.text;
}

TEST_F(FaultTest, ACallOfANullPointerShowsItsCaller) {
  const Ending e = Dies("call");
  EXPECT_TRUE(Has(e, "\npc=0xN, in no mapped file\n") || Has(e, "\tpc=0xN, in no mapped file\n"))
      << e.text;
  EXPECT_TRUE(Has(e, "(anonymous namespace)::Call(...)\n\t@\n")) << e.text;
}

TEST_F(FaultTest, ADivisionByZeroHasGosWords) {
  const Ending e = Dies("divide",
                        "panic: runtime error: integer divide by zero\n"
                        "[signal SIGFPE: floating-point exception code=0xN addr=0xN pc=0xN]\n"
                        "\n"
                        "goroutine N [running]:\n"
                        "(anonymous namespace)::Divide(...)\n");
}

TEST_F(FaultTest, AnAbortShowsAllGoroutinesAndRegisters) {
  const Ending e = Dies("abort");
  EXPECT_TRUE(
      std::regex_search(e.text, std::regex("^SIGABRT: abort\nPC=0xN m=[0-9]+ sigcode=-6\n")))
      << e.text;
  EXPECT_TRUE(Has(e, "(anonymous namespace)::Run::{lambda#")) << e.text;
  EXPECT_TRUE(Has(e, "\nrsp    0xN\n") || Has(e, "\nsp     0xN\n")) << e.text;
}

TEST_F(FaultTest, OfTwoThatFaultAtOnceOneIsTold) {
  for (int i = 0; i < 5; ++i) {
    const Ending e = Dies("two");
    EXPECT_EQ(e.text.find("panic: "), 0u);
    EXPECT_EQ(e.text.find("panic: ", 1), std::string::npos) << e.text;
    EXPECT_FALSE(Has(e, "the rest is missing")) << e.text;
  }
}

TEST_F(FaultTest, AForeignThreadsFaultIsLeftToTheKernel) {
  const Ending e = EndingOf("foreign");
  EXPECT_EQ(e.status, 128 + 11);
  EXPECT_FALSE(Has(e, "goroutine")) << e.text;
}

TEST_F(FaultTest, AHandlerThatWasThereBeforeGoesFirst) {
  Ending e = EndingOf("own_handler");
  EXPECT_EQ(e.status, 7);
  EXPECT_EQ(e.text, "the program's own handler\n");
  e = EndingOf("mended");
  EXPECT_EQ(e.status, 0) << "what it mended goes on";
  EXPECT_EQ(e.text, "the program's own handler\n");
}

TEST_F(FaultTest, AnOverflowIsOursEvenThen) {
  const Ending e = Dies("own_handler_overflow");
  EXPECT_TRUE(Has(e, "fatal error: stack overflow")) << e.text.substr(0, 500);
  EXPECT_FALSE(Has(e, "the program's own handler"));
}

TEST(PanicTest, AnUncaughtPanicTellsItsPlaceAndItsFrames) {
  const Ending e = Dies("panic");
  EXPECT_EQ(WithoutChannel(e.text),
            "panic: send on closed channel\n"
            "\n"
            "goroutine N [running]:\n"
            "panic(...)\n\t@\n"
            "(anonymous namespace)::Run::{lambda#7}::operator()(...)\n\t@\n"
            "created by (anonymous namespace)::Run in goroutine 1\n\t@\n");
}

TEST(PanicTest, AnUncaughtExceptionTellsWhatItSays) {
  Ending e = Dies("throw");
  EXPECT_EQ(e.text,
            "panic: boom\n"
            "\n"
            "goroutine N [running] {\"label\": \"thrower\"}:\n"
            "(anonymous namespace)::Run::{lambda#8}::operator()(...)\n\t@\n"
            "created by (anonymous namespace)::Run in goroutine 1\n\t@\n");
  e = Dies("number", "panic: an exception of type std::pair<int, char const*>\n");
  e = Dies("terminate", "panic: std::terminate was called without an exception\n");
}

// What the collector runs for the program is told as any goroutine is, by its label.
TEST(PanicTest, AnExceptionOfACleanupOrOfACollectedObjectsDestructorIsTold) {
  for (const char* what : {"cleanup", "destructor"}) {
    const Ending e = Dies(what, "panic: boom\n");
    EXPECT_TRUE(Has(e, "[running] {\"label\": \"gc cleanups\"}:")) << e.text;
    EXPECT_TRUE(Has(e, what[0] == 'c' ? "(anonymous namespace)::Run::{lambda#"
                                      : "(anonymous namespace)::Throws::~Throws"))
        << e.text;
  }
}

TEST(FatalTest, ACollectedHeapThatIsFullAndLiveEndsWithGosText) {
  if (base::kAsan || base::kTsan) GTEST_SKIP() << "what they map is not limited";
  (void)Dies("collected_full", "fatal error: runtime: out of memory: cannot allocate ");
}

TEST(PanicTest, AForeignThreadsExceptionIsAPanicToo) {
  const Ending e = Dies("throw_thread", "panic: boom\n\ngoroutine 0 [foreign thread]:\n");
  EXPECT_TRUE(Has(e, "(anonymous namespace)::Run::{lambda#9}::operator()(...)")) << e.text;
}

TEST(PanicTest, GotracebackSaysHowMuchIsTold) {
  Ending e = Dies("throw", "", "GOTRACEBACK=none");
  EXPECT_EQ(e.text, "panic: boom\n");
  e = Dies("throw", "", "GOTRACEBACK=all");
  EXPECT_TRUE(Has(e, "goroutine 1 [")) << e.text;
  EXPECT_TRUE(Has(e, "{\"label\": \"waiter\"}:\n")) << e.text;
  EXPECT_FALSE(Has(e, "plimsoll::sched::")) << e.text;
  e = Dies("throw", "", "GOTRACEBACK=system");
  EXPECT_TRUE(Has(e, "plimsoll::sched::Park")) << e.text;
  e = EndingOf("throw", "GOTRACEBACK=crash");
  EXPECT_EQ(e.status, 128 + 6);
  e = Dies("throw",
           "plimsoll: GOTRACEBACK=\"loud\" is none of none, single, all, system, "
           "crash; taken as single\npanic: boom\n",
           "GOTRACEBACK=loud");
}

TEST(FatalTest, AFatalErrorShowsItsGoroutineAndAllOthers) {
  const Ending e = Dies("unlock",
                        "fatal error: sync: unlock of unlocked mutex\n"
                        "[at tests/crash/crash_program.cc:N]\n"
                        "\n"
                        "goroutine 1 [running]:\n"
                        "plimsoll::Mutex::");
  EXPECT_TRUE(
      Has(e, "(anonymous namespace)::Run(...)\n\t@\nmain::{lambda#1}::operator()(...)\n\t@\n"))
      << e.text;
}

TEST(FatalTest, ADeadlockShowsWhatEverybodyWaitsFor) {
  const Ending e = Dies("deadlock");
  EXPECT_EQ(WithoutChannel(e.text),
            std::string("fatal error: all goroutines are asleep - deadlock!\n"
                        "\n"
                        "goroutine 1 [sync.WaitGroup.Wait]:\n"
                        "plimsoll::WaitGroup::Wait(...)\n\t@\n"
                        "(anonymous namespace)::Run(...)\n\t@\n"
                        "main::{lambda#1}::operator()(...)\n\t@\n"
                        "\n") +
                kWaiter);
}

TEST(QuitTest, ShowsParkedAndRunningGoroutinesWithFramesAndRegisters) {
  const Ending e = Dies("quit");
  EXPECT_TRUE(
      std::regex_search(e.text, std::regex("^SIGQUIT: quit\nPC=0xN m=-?[0-9]+ sigcode=0\n")))
      << e.text;
  EXPECT_NE(WithoutChannel(e.text).find(kWaiter), std::string::npos) << e.text;
  EXPECT_TRUE(FramesOf(e, "goroutine N [sleep]:\n").starts_with("plimsoll::Sleep(...)\n"))
      << e.text;
  // One of them is preempted where a third wants a P at that moment.
  EXPECT_EQ(Count(e, "goroutine N [running] {\"label\": \"spinner\"}:\n") +
                Count(e, "goroutine N [preempted] {\"label\": \"spinner\"}:\n"),
            2)
      << e.text;
  EXPECT_EQ(Count(e, "(anonymous namespace)::Spin(...)\n"), 2) << e.text;
  EXPECT_TRUE(std::regex_search(
      e.text,
      std::regex(
          "\n\nstacks, the deepest first, to a page of [0-9]+ bytes:\n"
          "(\tgoroutine [0-9]+: [0-9]+ KiB of [0-9]+ KiB( \\{\"label\": \"[a-z]+\"\\})?\n){5}"
          "\tall 5 together: [0-9]+ KiB of [0-9]+ KiB\n\n")))
      << e.text;
  EXPECT_TRUE(Has(e, "\nrip    0xN\n") || Has(e, "\npc     0xN\n")) << e.text;
}

TEST_F(FaultTest, AnAttachedThreadsOverflowIsTold) {
  const Ending e = Dies("attached_overflow", "runtime: attached thread's stack exceeds ");
  EXPECT_TRUE(Has(e,
                  "fatal error: stack overflow\n"
                  "\n"
                  "goroutine N [running, attached thread] {\"label\": \"worker\"}:\n"
                  "(anonymous namespace)::Recurse(...)\n"))
      << e.text.substr(0, 2000);
  EXPECT_TRUE(Has(e, "{\"label\": \"waiter\"}:\n")) << Last(e.text, 2000);
}

TEST(PanicTest, AnAttachedThreadsExceptionShowsItsFrames) {
  const Ending e = Dies("attached_throw",
                        "panic: boom\n"
                        "\n"
                        "goroutine N [running, attached thread] {\"label\": \"worker\"}:\n"
                        "(anonymous namespace)::Boom(...)\n");
  EXPECT_TRUE(Has(e, "(anonymous namespace)::Run::{lambda")) << e.text;
}

TEST(QuitTest, ShowsAttachedThreadsThatRunAndThatPark) {
  const Ending e = Dies("attached_quit", "SIGQUIT: quit\n");
  EXPECT_EQ(Count(e, "goroutine N [running, attached thread] {\"label\": \"spinner\"}:\n") +
                Count(e, "goroutine N [preempted, attached thread] {\"label\": \"spinner\"}:\n"),
            2)
      << e.text;
  EXPECT_EQ(Count(e, "(anonymous namespace)::Spin(...)\n"), 2) << e.text;
  // It may not have got so far: two spin on both Ps.
  EXPECT_EQ(Count(e, ", attached thread] {\"label\": \"sleeper\"}:\n"), 1) << e.text;
  const std::string frames =
      FramesOf(e, "goroutine N [chan receive, attached thread] {\"label\": \"sleeper\"}:\n");
  if (frames != "no such goroutine") {
    EXPECT_NE(frames.find("(anonymous namespace)::Park(...)\n"), std::string::npos) << e.text;
  }
}

TEST(QuitTest, WorksWhileTheLoadersLockAndStdiosAreHeldForEver) {
  const Ending e = Dies("wedged", "SIGQUIT: quit\n");
  EXPECT_EQ(Count(e, "goroutine N [running]:\n"), 2) << e.text;
  EXPECT_EQ(Count(e, "(anonymous namespace)::Spin(...)\n"), 2) << e.text;
}

TEST(QuitTest, TellsGosWordsForEachReasonToWait) {
  const Ending e = Dies("reasons", "", "GOMAXPROCS=1");
  // Each goroutine is labelled with what its header must say.
  const std::regex header("goroutine N \\[([^\\n]*)\\] \\{\"label\": \"([^\\n]*)\"\\}:\n");
  int compared = 0;
  for (auto at = std::sregex_iterator(e.text.begin(), e.text.end(), header);
       at != std::sregex_iterator(); ++at) {
    const std::string label = (*at)[2];
    if (label == "waiter" || label == "quitter") continue;
    EXPECT_EQ((*at)[1], label);
    ++compared;
  }
  EXPECT_EQ(compared, 14) << e.text;
}

TEST(StackReportTest, TellsEveryKindThatRanWhenMainReturns) {
  const Ending e = EndingOf("stacks", "PLIMSOLL_DEBUG=stackreport=1");
  EXPECT_EQ(e.status, 0);
  EXPECT_TRUE(std::regex_match(
      e.text,
      std::regex("plimsoll: stackreport: what ran, the deepest first, to a page of [0-9]+ bytes:\n"
                 "(plimsoll: stackreport: [0-9]+ KiB of [0-9]+ KiB, [0-9]+ goroutines?: .*\n)+")))
      << e.text;
  // Sanitizers' frames are bigger; the stack is as big as it is.
  EXPECT_TRUE(std::regex_search(
      e.text, std::regex("stackreport: (1[0-9]|2[0-4])[0-9] KiB of 240 KiB, 10 goroutines: "
                         "\\(anonymous namespace\\)::Run::\\{lambda#[0-9]+\\}::operator\\(\\) "
                         "\\{\"label\": \"deep\"\\}\n")))
      << e.text;
  EXPECT_TRUE(std::regex_search(
      e.text, std::regex("stackreport: [0-9]+ KiB of 240 KiB, 1 goroutine: "
                         "\\(anonymous namespace\\)::Run::\\{lambda#1\\}::operator\\(\\) "
                         "\\{\"label\": \"waiter\"\\}\n")))
      << "one that lives";
  EXPECT_TRUE(std::regex_search(e.text, std::regex("KiB of [0-9]+ KiB, 1 goroutine: main\n")))
      << e.text;
  EXPECT_EQ(EndingOf("stacks").text, "") << "without the key";
}

TEST(StackTrimTest, AValueThatIsNoneIsTold) {
  const Ending e = EndingOf("stacks", "PLIMSOLL_DEBUG=stacktrim=never");
  EXPECT_EQ(e.status, 0);
  EXPECT_EQ(e.text,
            "plimsoll: PLIMSOLL_DEBUG: stacktrim=\"never\" is not one of on, off; on is taken\n");
}

TEST(SchedTraceTest, WritesGosLineAtItsInterval) {
  const Ending e = EndingOf("busy", "PLIMSOLL_DEBUG=gctrace=0,schedtrace=20");
  EXPECT_EQ(e.status, 0);
  const std::regex line(
      "SCHED ([0-9]+)ms: gomaxprocs=2 idleprocs=([0-9]+) threads=[0-9]+ spinningthreads=[0-9]+ "
      "needspinning=0 idlethreads=[0-9]+ runqueue=[0-9]+ \\[ [0-9]+ [0-9]+ \\] "
      "schedticks=\\[ [0-9]+ [0-9]+ \\]\n");
  std::string rest = e.text;
  int lines = 0;
  int64_t last_ms = 0;
  for (std::smatch m; std::regex_search(rest, m, line); rest = m.suffix()) {
    EXPECT_EQ(m.prefix().length(), 0) << m.prefix();
    const int64_t ms = std::stoll(m[1]);
    EXPECT_GE(ms, last_ms + 19) << e.text;
    last_ms = ms;
    ++lines;
  }
  EXPECT_EQ(rest, "");
  EXPECT_GE(lines, 2) << e.text;
  EXPECT_LE(lines, 100);
}

TEST(SchedTraceTest, ReportsNonsenseAndGoesOn) {
  const Ending e = EndingOf("throw", "PLIMSOLL_DEBUG=schedtrace=often");
  EXPECT_EQ(e.text.find("plimsoll: PLIMSOLL_DEBUG: schedtrace=\"often\" is not a number from 0 to "
                        "86400000; 0 is taken\npanic: boom\n"),
            0u)
      << e.text;
}

}  // namespace
}  // namespace plimsoll
