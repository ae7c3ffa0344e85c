#include "plimsoll/runtime/smaps.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "gtest/gtest.h"

namespace plimsoll::internal {
namespace {

constexpr std::string_view kText =
    "55d0c0000000-55d0c0021000 r-xp 00002000 fe:00 1234                       /srv/a b\n"
    "Size:                132 kB\n"
    "Rss:                  40 kB\n"
    "Pss_Dirty:             8 kB\n"
    "VmFlags: rd ex mr mw me\n"
    "7f0000000000-7f0000001000 ---p 00000000 00:00 0 \n"
    "Rss:                   0 kB\n"
    "7f0000001000-7f0000801000 rw-p 00000000 00:00 0 \n"
    "Rss:                  12 kB\n"
    "7f0000900000-7f0000901000 rw-s 00000000 00:01 77                         /dev/zero (deleted)\n"
    "Rss:                   4 kB\n";

TEST(SmapsTest, ReadsMappingsFromPiecesOfAnyLength) {
  for (const size_t step : {size_t{1}, size_t{7}, size_t{64}, kText.size()}) {
    SCOPED_TRACE(step);
    std::vector<Mapping> all;
    MappingsParser parser(&all);
    for (size_t at = 0; at < kText.size(); at += step) parser.Add(kText.substr(at, step));
    ASSERT_EQ(all.size(), 4u);
    EXPECT_EQ(all[0].begin, 0x55d0c0000000u);
    EXPECT_EQ(all[0].end, 0x55d0c0021000u);
    EXPECT_EQ(all[0].name, "/srv/a b");
    EXPECT_EQ(all[0].rss, 40u << 10);
    EXPECT_TRUE(all[0].executable && all[0].accessible && !all[0].shared);
    EXPECT_FALSE(all[1].accessible);
    EXPECT_EQ(all[1].rss, 0u);
    EXPECT_EQ(all[2].name, "");
    EXPECT_EQ(all[2].rss, 12u << 10);
    EXPECT_TRUE(all[3].shared);
    EXPECT_EQ(all[3].name, "/dev/zero (deleted)");
  }
}

TEST(SmapsTest, WhatIsNoMappingIsPassedOver) {
  std::vector<Mapping> all;
  MappingsParser parser(&all);
  parser.Add("Rss: 4 kB\nabc\n\n-\n12-\n12-34 rw\nRss:\nRss: x kB\nRss: 4 MB\n");
  EXPECT_TRUE(all.empty());
  EXPECT_FALSE(ReadMappings("/proc/self/no_such_file", &all));
}

TEST(SmapsTest, StatusLinesAreFoundByTheirWholeKey) {
  constexpr std::string_view kStatus = "VmPTEx:\t1 kB\nVmPTE:\t     84 kB\nThreads:\t7\n";
  EXPECT_EQ(StatusBytes(kStatus, "VmPTE"), 84u << 10);
  EXPECT_EQ(StatusBytes(kStatus, "VmSwap"), 0u);
  EXPECT_EQ(StatusBytes(kStatus, "Threads"), 0u) << "no size";
}

TEST(SmapsTest, ThisProcessHasWhatItMapsAndTouches) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  constexpr size_t kPages = 100;
  // Between two guards, so that it is a mapping by itself.
  auto* all = static_cast<char*>(
      mmap(nullptr, (kPages + 2) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(all, MAP_FAILED);
  char* at = all + page;
  ASSERT_EQ(mprotect(at, kPages * page, PROT_READ | PROT_WRITE), 0);
  ASSERT_EQ(madvise(at, kPages * page, MADV_NOHUGEPAGE), 0);
  for (size_t i = 0; i < kPages; i += 2) at[i * page] = 1;
  const auto begin = reinterpret_cast<uintptr_t>(at);

  std::vector<Mapping> mappings;
  ASSERT_TRUE(ReadMappings("/proc/self/smaps", &mappings));
  const auto found = std::find_if(mappings.begin(), mappings.end(),
                                  [begin](const Mapping& m) { return m.begin == begin; });
  ASSERT_NE(found, mappings.end());
  EXPECT_EQ(found->end, begin + kPages * page);
  EXPECT_EQ(found->rss, kPages / 2 * page);

  Residency pages;
  if (!pages.ok()) GTEST_SKIP() << "no pagemap";
  EXPECT_EQ(pages.Bytes(begin, kPages * page), kPages / 2 * page);
  EXPECT_EQ(pages.Bytes(begin, page), page);
  EXPECT_EQ(pages.Bytes(begin + page, page), 0u);
  EXPECT_EQ(pages.Bytes(begin + page - 10, page), 10u) << "of a page, what was asked for";
  EXPECT_EQ(pages.Bytes(begin, 0), 0u);
  munmap(all, (kPages + 2) * page);
}

}  // namespace
}  // namespace plimsoll::internal
