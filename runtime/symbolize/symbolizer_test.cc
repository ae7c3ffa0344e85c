#include "plimsoll/runtime/symbolize/symbolizer.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace plimsoll::symbolize {
namespace {

// What a handler sees of the stack that it interrupted.
struct Seen {
  std::string function;
  std::string file;
  uint32_t line;
  Step how;
};
std::vector<Seen> seen;
StackBounds bounds;

void Walk(int, siginfo_t*, void* context) {
  Symbolizer symbols;
  Registers regs = RegistersOf(context);
  Step how = Step::kExact;
  for (int i = 0; i < 64 && how != Step::kEnd; ++i) {
    Location where;
    symbols.Locate(regs.pc, regs.after_call, &where);
    seen.push_back({std::string(where.function), std::string(where.file), where.line, how});
    how = symbols.StepUp(bounds, &regs);
  }
}

// Raises SIGUSR1 in `middle` and tells what a walk from its handler sees.
void InstallWalk() {
  seen.clear();
  struct sigaction action = {};
  action.sa_sigaction = Walk;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGUSR1, &action, nullptr);
}

size_t IndexOf(std::string_view function) {
  for (size_t i = 0; i < seen.size(); ++i) {
    if (seen[i].function == function) return i;
  }
  return seen.size();
}

std::string All() {
  std::string all;
  for (const Seen& s : seen) all += s.function + " " + s.file + ":" + std::to_string(s.line) + "\n";
  return all;
}

uint32_t raising_line = 0;
__attribute__((noinline)) void Inner() {
  raising_line = __LINE__ + 1;
  raise(SIGUSR1);
  asm volatile("");
}
__attribute__((noinline, optimize("omit-frame-pointer"))) void Middle(int depth) {
  volatile char room[100];
  room[0] = static_cast<char>(depth);
  if (depth > 0) {
    Middle(depth - 1);
  } else {
    Inner();
  }
  asm volatile("" : : "r"(room) : "memory");
}
__attribute__((noinline)) void Outer() {
  Middle(3);
  asm volatile("");
}

TEST(SymbolizerTest, NamesEveryFrameFromAHandlerUpThroughLibraries) {
  InstallWalk();
  Outer();
  const size_t inner = IndexOf("plimsoll::symbolize::(anonymous namespace)::Inner");
  ASSERT_LT(inner, seen.size()) << All();
  EXPECT_GT(inner, 0u) << "raise() of libc comes first\n" << All();
  const std::string middle = "plimsoll::symbolize::(anonymous namespace)::Middle";
  ASSERT_GT(seen.size(), inner + 6) << All();
  for (size_t i = inner + 1; i <= inner + 4; ++i) EXPECT_EQ(seen[i].function, middle) << All();
  EXPECT_EQ(seen[inner + 5].function, "plimsoll::symbolize::(anonymous namespace)::Outer") << All();
  EXPECT_LT(IndexOf("main"), seen.size()) << All();
  for (const Seen& s : seen) EXPECT_EQ(s.how, Step::kExact) << All();
}

TEST(SymbolizerTest, TellsTheLineOfACall) {
  InstallWalk();
  Outer();
  const size_t inner = IndexOf("plimsoll::symbolize::(anonymous namespace)::Inner");
  ASSERT_LT(inner, seen.size());
  if (seen[inner].file.empty())
    GTEST_SKIP() << "this configuration strips debug information; those of the sanitizers do not";
  EXPECT_TRUE(seen[inner].file.ends_with("symbolize/symbolizer_test.cc")) << seen[inner].file;
  EXPECT_EQ(seen[inner].line, raising_line);
}

int Compare(const void* a, const void* b) {
  raise(SIGUSR1);
  return *static_cast<const int*>(a) - *static_cast<const int*>(b);
}

TEST(SymbolizerTest, WalksThroughCodeThatIsNotOurs) {
  InstallWalk();
  int numbers[] = {2, 1};
  qsort(numbers, 2, sizeof(int), Compare);
  const size_t compare = IndexOf("plimsoll::symbolize::(anonymous namespace)::Compare");
  ASSERT_LT(compare, seen.size()) << All();
  // Between them lie libc's frames, which have no frame pointers.
  const size_t test = IndexOf(
      "plimsoll::symbolize::(anonymous namespace)::"
      "SymbolizerTest_WalksThroughCodeThatIsNotOurs_Test::TestBody");
  EXPECT_LT(compare + 1, test) << All();
  EXPECT_LT(test, seen.size()) << All();
}

TEST(SymbolizerTest, ACallThroughANullPointerIsUnwoundToItsCaller) {
  Symbolizer symbols;
  uintptr_t stack[4] = {};
  Registers regs;
  regs.pc = 0;
#if defined(__x86_64__)
  stack[1] = reinterpret_cast<uintptr_t>(&Outer) + 4;
  regs.r[kStackPointer] = reinterpret_cast<uintptr_t>(&stack[1]);
#else
  regs.r[30] = reinterpret_cast<uintptr_t>(&Outer) + 4;
#endif
  ASSERT_EQ(symbols.StepUp({}, &regs), Step::kExact);
  Location where;
  symbols.Locate(regs.pc, regs.after_call, &where);
  EXPECT_EQ(where.function, "plimsoll::symbolize::(anonymous namespace)::Outer");
}

#if defined(__x86_64__)
extern "C" const char plimsoll_stub_without_cfi[];
asm(R"(
  .pushsection .text
  plimsoll_stub_without_cfi: jmp *%rax
  .popsection
)");

// Calls a function whose only work is to tell where it returns to.
[[gnu::noinline]] uintptr_t ReturnAddress() {
  return reinterpret_cast<uintptr_t>(__builtin_return_address(0));
}
[[gnu::noinline]] uintptr_t CallerOfAStub() {
  const uintptr_t at = ReturnAddress();
  asm volatile("");  // not a tail call
  return at;
}

TEST(SymbolizerTest, WhoIsInterruptedInAStubHasItsCallerAbove) {
  Symbolizer symbols;
  uintptr_t stack[4] = {};
  stack[1] = CallerOfAStub();
  Registers regs;
  regs.pc = reinterpret_cast<uintptr_t>(plimsoll_stub_without_cfi);
  regs.r[kStackPointer] = reinterpret_cast<uintptr_t>(&stack[1]);
  ASSERT_EQ(symbols.StepUp({}, &regs), Step::kExact);
  EXPECT_EQ(regs.pc, stack[1]);
  EXPECT_EQ(regs.r[kStackPointer], reinterpret_cast<uintptr_t>(&stack[2]));
  Location where;
  symbols.Locate(regs.pc, regs.after_call, &where);
  EXPECT_EQ(where.function, "plimsoll::symbolize::(anonymous namespace)::CallerOfAStub");
  // What no call comes before is a word like any other.
  stack[1] = reinterpret_cast<uintptr_t>(&CallerOfAStub) + 1;
  regs = {};
  regs.pc = reinterpret_cast<uintptr_t>(plimsoll_stub_without_cfi);
  regs.r[kStackPointer] = reinterpret_cast<uintptr_t>(&stack[1]);
  EXPECT_EQ(symbols.StepUp({}, &regs), Step::kEnd);
}
#endif

TEST(SymbolizerTest, WhereACodeHasNoCallFrameInformationTheFramePointerIsFollowedAndToldOf) {
  Symbolizer symbols;
  alignas(16) uintptr_t stack[6] = {};
  stack[2] = reinterpret_cast<uintptr_t>(&stack[4]);
  stack[3] = reinterpret_cast<uintptr_t>(&Outer) + 4;
  Registers regs;
  regs.pc = 0x10000;  // in no module
  regs.after_call = true;
  regs.r[kFramePointer] = reinterpret_cast<uintptr_t>(&stack[2]);
  regs.r[kStackPointer] = reinterpret_cast<uintptr_t>(&stack[0]);
  const StackBounds here{reinterpret_cast<uintptr_t>(&stack[0]),
                         reinterpret_cast<uintptr_t>(&stack[6])};
  ASSERT_EQ(symbols.StepUp(here, &regs), Step::kFramePointer);
  EXPECT_EQ(regs.pc, stack[3]);
  // A frame pointer out of the stack, and one that points nowhere, end the walk.
  regs.pc = 0x10000;
  regs.r[kFramePointer] = 0x10;
  EXPECT_EQ(symbols.StepUp(here, &regs), Step::kEnd);
  EXPECT_EQ(symbols.StepUp({}, &regs), Step::kEnd);
}

TEST(SymbolizerTest, TellsTheModuleAndAnAddressThatAddr2lineTakes) {
  Symbolizer symbols;
  Location where;
  symbols.Locate(reinterpret_cast<uintptr_t>(&Outer), false, &where);
  EXPECT_TRUE(where.module.ends_with("symbolizer_test")) << where.module;
  EXPECT_EQ(where.offset, 0u);
  EXPECT_LT(where.module_address, 1u << 30) << "an address of the file, not of the process";
  symbols.Locate(reinterpret_cast<uintptr_t>(&where), false, &where);
  EXPECT_TRUE(where.function.empty()) << "the stack is in no module";
}

TEST(ReadableTest, AsksTheKernelWithoutTouching) {
  const long page = sysconf(_SC_PAGESIZE);
  void* two = mmap(nullptr, static_cast<size_t>(2 * page), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(two, MAP_FAILED);
  const uintptr_t at = reinterpret_cast<uintptr_t>(two);
  ASSERT_EQ(mprotect(static_cast<char*>(two) + page, static_cast<size_t>(page), PROT_NONE), 0);
  EXPECT_TRUE(Readable(at));
  EXPECT_TRUE(Readable(at + static_cast<uintptr_t>(page) - 8));
  EXPECT_FALSE(Readable(at + static_cast<uintptr_t>(page)));
  EXPECT_FALSE(Readable(0));
  EXPECT_FALSE(Readable(~uintptr_t{7}));
  munmap(two, static_cast<size_t>(2 * page));
}

// A file's bytes, to be changed.
std::string Self() {
  std::string bytes;
  FILE* f = fopen("/proc/self/exe", "rb");
  char buffer[65536];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), f)) > 0;) bytes.append(buffer, n);
  fclose(f);
  return bytes;
}

bool OpenBytes(const std::string& bytes, Scratch& scratch, ElfFile& file) {
  char path[] = "/tmp/elf_XXXXXX";
  const int fd = mkstemp(path);
  EXPECT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  close(fd);
  const bool ok = file.Open(path, scratch);
  unlink(path);
  return ok;
}

TEST(ElfFileTest, RefusesWhatIsNoElfFile) {
  for (const std::string& bytes :
       {std::string(), std::string("#!/bin/sh\n"), std::string("\177ELF"),
        std::string("\177ELF\1\1") + std::string(100, '\0')}) {
    Scratch scratch;
    ElfFile file;
    EXPECT_FALSE(OpenBytes(bytes, scratch, file)) << bytes.size();
  }
  Scratch scratch;
  ElfFile file;
  EXPECT_FALSE(file.Open("/nonexistent", scratch));
  EXPECT_FALSE(file.Open("/proc/self/root", scratch)) << "a directory";
}

TEST(ElfFileTest, AFileThatWasCutIsReadWithoutAFault) {
  const std::string whole = Self();
  for (const size_t size :
       {whole.size() - 1, whole.size() / 2, whole.size() / 3, size_t{5000}, size_t{64}}) {
    Scratch scratch;
    ElfFile file;
    LineTable lines;
    if (OpenBytes(whole.substr(0, size), scratch, file)) {
      (void)file.Find(0x1234);
      (void)lines.Open(file, scratch);
    }
  }
}

TEST(ElfFileTest, AFileOfChangedBytesIsReadWithoutAFault) {
  const std::string whole = Self();
  uint64_t random = 12345;
  for (int round = 0; round < 20; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 300; ++i) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      // The first page and the section headers at the end say where everything is.
      const size_t at = i % 3 == 0   ? 16 + random % 4080
                        : i % 3 == 1 ? bytes.size() - 1 - random % 4096
                                     : random % bytes.size();
      bytes[at] = static_cast<char>(random >> 56);
    }
    Scratch scratch;
    ElfFile file;
    LineTable lines;
    if (!OpenBytes(bytes, scratch, file)) continue;
    char buffer[64];
    SourceLine line;
    for (uint64_t a = 0; a < 1 << 20; a += 4099) (void)file.Find(a);
    if (lines.Open(file, scratch)) {
      for (uint64_t a = 0; a < 1 << 20; a += 40999) (void)lines.Find(a, buffer, &line);
    }
  }
}

}  // namespace
}  // namespace plimsoll::symbolize
