#include "plimsoll/alloc/heap_profile.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/proc_maps.h"
#include "plimsoll/alloc/elf_names.h"

namespace plimsoll::alloc {
namespace {

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) != 0 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrc = MakeCrcTable();

// A gzip stream of stored blocks: readable by all, and needs no window of memory (RFC 1952, 1951).
class Gzip {
 public:
  Gzip(WriteBytes write, void* to) : write_(write), to_(to) {
    write_(std::string_view("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10), to_);
  }
  void Add(std::string_view bytes) {
    for (const char c : bytes) {
      crc_ = kCrc[(crc_ ^ static_cast<uint8_t>(c)) & 0xff] ^ (crc_ >> 8);
      block_[used_++] = c;
      if (used_ == sizeof(block_)) Flush(false);
    }
    size_ += static_cast<uint32_t>(bytes.size());
  }
  void End() {
    Flush(true);
    Number(~crc_, 4);
    Number(size_, 4);
  }

 private:
  void Number(uint32_t value, int bytes) {
    char text[4];
    for (int i = 0; i < bytes; ++i) text[i] = static_cast<char>(value >> (8 * i));
    write_(std::string_view(text, bytes), to_);
  }
  void Flush(bool last) {
    write_(std::string_view(last ? "\1" : "\0", 1), to_);
    Number(used_, 2);
    Number(~used_ & 0xffff, 2);
    write_(std::string_view(block_, used_), to_);
    used_ = 0;
  }

  WriteBytes write_;
  void* to_;
  uint32_t crc_ = ~uint32_t{0};
  uint32_t size_ = 0;
  uint32_t used_ = 0;
  char block_[8192];
};

// One protobuf message, small enough for the stack.
class Message {
 public:
  void Varint(uint64_t value) {
    do {
      Byte(static_cast<uint8_t>((value & 0x7f) | (value > 0x7f ? 0x80 : 0)));
      value >>= 7;
    } while (value != 0);
  }
  void Field(int number, uint64_t value) {
    Varint(static_cast<uint64_t>(number) << 3);
    Varint(value);
  }
  void Field(int number, std::string_view bytes) {
    Varint(static_cast<uint64_t>(number) << 3 | 2);
    Varint(bytes.size());
    for (const char c : bytes) Byte(static_cast<uint8_t>(c));
  }
  std::string_view view() const { return {buffer_, size_}; }

 private:
  void Byte(uint8_t byte) {
    if (size_ < sizeof(buffer_)) buffer_[size_++] = static_cast<char>(byte);
  }
  char buffer_[1400];
  size_t size_ = 0;
};

// Field numbers of profile.proto.
enum Profile : int {
  kSampleType = 1,
  kSample = 2,
  kMapping = 3,
  kLocation = 4,
  kFunction = 5,
  kStringTable = 6,
  kDropFrames = 7,
  kTimeNanos = 9,
  kPeriodType = 11,
  kPeriod = 12,
  kDefaultSampleType = 14,
};

// The strings that are always there, by their place in the table; paths of mappings follow.
constexpr std::string_view kStrings[] = {
    "", "inuse_objects", "count", "inuse_space", "bytes", "space",
    // NOLINTNEXTLINE(bugprone-suspicious-missing-comma): one pattern, on three lines
    "plimsoll::alloc::.*|plimsoll::Heap::.*|\\(anonymous namespace\\)::(MallocSlow|NewSlow|Calloc|"
    "Realloc|Aligned|New)|(__libc_)?(m|c|re|v|pv)alloc|(__libc_)?memalign|(__)?posix_memalign|"
    "aligned_alloc|reallocarray|operator new.*"};

struct Writer {
  Gzip* gzip;
  uint64_t mappings = 0;
  uint64_t strings = std::size(kStrings);

  void Add(int field, std::string_view bytes) {
    // The head of a field of the whole profile, then its bytes: they need not fit a Message.
    Message head;
    head.Varint(static_cast<uint64_t>(field) << 3 | 2);
    head.Varint(bytes.size());
    gzip->Add(head.view());
    gzip->Add(bytes);
  }
  void Number(int field, uint64_t value) {
    Message m;
    m.Field(field, value);
    gzip->Add(m.view());
  }
  void ValueType(int field, uint64_t type, uint64_t unit) {
    Message m;
    m.Field(1, type);
    m.Field(2, unit);
    Add(field, m.view());
  }
};

// exp(-x) for x >= 0, to about 1e-9: halved until a short series will do, then squared again.
double ExpMinus(double x) {
  if (x > 700) return 0;
  int halvings = 0;
  for (; x > 0.03; x /= 2) ++halvings;
  double e = 1 - x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4)));
  for (; halvings > 0; --halvings) e *= e;
  return e;
}

// Memory for the call.
class Scratch {
 public:
  explicit Scratch(uint64_t bytes) : bytes_((bytes + 4095) & ~uint64_t{4095}) {
    MmapPages pages;
    p_ = pages.Map(ByteCount(bytes_), ByteCount(4096), 0).base;
  }
  ~Scratch() {
    MmapPages pages;
    if (p_ != nullptr) pages.Unmap(p_, ByteCount(bytes_));
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* get() const { return p_; }

 private:
  uint64_t bytes_;
  void* p_;
};

}  // namespace

double SampleWeight(uint64_t size, uint64_t period) {
  if (period == 0) return 1;
  const double x = static_cast<double>(size == 0 ? 1 : size) / static_cast<double>(period);
  // Below it 1 - exp(-x) loses digits, and is x - x^2/2.
  return 1 / (x < 1e-4 ? x - x * x / 2 : 1 - ExpMinus(x));
}

bool WriteHeapProfile(const Samples& samples, uint64_t period, WriteBytes write, void* to) {
  // Some more than there are now: more may come before they are copied.
  const size_t most = samples.Copy(nullptr, 0) + 256;
  Scratch copied(most * sizeof(Sample));
  Scratch addresses(most * StackTrace::kMost * sizeof(uintptr_t));
  Scratch named(most * StackTrace::kMost * sizeof(char*));
  if (copied.get() == nullptr || addresses.get() == nullptr || named.get() == nullptr) return false;
  auto* sample = static_cast<Sample*>(copied.get());
  const size_t count = std::min(samples.Copy(sample, most), most);

  auto* pcs = static_cast<uintptr_t*>(addresses.get());
  size_t pc_count = 0;
  for (size_t i = 0; i < count; ++i) {
    const StackTrace& stack = sample[i].allocated;
    for (uint32_t d = 0; d < stack.depth; ++d) pcs[pc_count++] = stack.pcs[d];
  }
  std::sort(pcs, pcs + pc_count);
  pc_count = std::unique(pcs, pcs + pc_count) - pcs;

  Gzip gzip(write, to);
  Writer out{&gzip};
  for (const std::string_view text : kStrings) out.Add(kStringTable, text);
  out.ValueType(kSampleType, 1, 2);
  out.ValueType(kSampleType, 3, 4);
  out.ValueType(kPeriodType, 5, 4);
  out.Number(kPeriod, period);
  out.Number(kDefaultSampleType, 3);
  out.Number(kDropFrames, 6);
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  out.Number(kTimeNanos, static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec);

  // Mappings of code, and the locations in them: both in order of address.
  struct Walk {
    Writer* out;
    const uintptr_t* pcs;
    size_t count;
    const char** names;
    size_t next = 0;

    // The next location, and its function, whose id is the same: its place, and not 0.
    void Locate(uint64_t mapping, const char* name) {
      Message m;
      m.Field(1, next + 1);
      if (mapping != 0) m.Field(2, mapping);
      m.Field(3, pcs[next] - 1);  // within the call, not behind it
      if (name != nullptr) {
        out->Add(kStringTable, name);
        Message function;
        function.Field(1, next + 1);
        function.Field(2, out->strings);
        function.Field(3, out->strings++);
        out->Add(kFunction, function.view());
        Message line;
        line.Field(1, next + 1);
        m.Field(4, line.view());
      }
      out->Add(kLocation, m.view());
      ++next;
    }
  } walk{&out, pcs, pc_count, static_cast<const char**>(named.get())};
  base::ForEachMapping(
      [](const base::Mapped& m, void* state) {
        auto& w = *static_cast<Walk*>(state);
        if (!m.executable) return true;
        while (w.next < w.count && w.pcs[w.next] < m.start) w.Locate(0, nullptr);
        const size_t here =
            std::lower_bound(w.pcs + w.next, w.pcs + w.count, m.end) - (w.pcs + w.next);
        w.out->Add(kStringTable, m.path);
        Message text;
        const uint64_t id = ++w.out->mappings;
        text.Field(1, id);
        text.Field(2, m.start);
        text.Field(3, m.end);
        text.Field(4, m.offset);
        text.Field(5, w.out->strings++);
        if (here != 0) text.Field(7, 1);  // its functions are named as far as they can be
        w.out->Add(kMapping, text.view());
        if (here == 0) return true;
        const ElfNames file(m.path);
        file.Find(m.start, m.offset, w.pcs + w.next, here, w.names);
        for (size_t i = 0; i < here; ++i) w.Locate(id, w.names[i]);
        return true;
      },
      &walk);
  while (walk.next < walk.count) walk.Locate(0, nullptr);

  for (size_t i = 0; i < count; ++i) {
    const Sample& s = sample[i];
    if (s.allocated.depth == 0) continue;
    Message ids;
    for (uint32_t d = 0; d < s.allocated.depth; ++d) {
      const uintptr_t* at = std::lower_bound(pcs, pcs + pc_count, s.allocated.pcs[d]);
      ids.Varint(static_cast<uint64_t>(at - pcs) + 1);
    }
    const double weight = SampleWeight(s.size, period);
    Message values;
    values.Varint(static_cast<uint64_t>(std::llround(weight)));
    values.Varint(static_cast<uint64_t>(
        std::llround(weight * static_cast<double>(s.size == 0 ? 1 : s.size))));
    Message m;
    m.Field(1, ids.view());
    m.Field(2, values.view());
    out.Add(kSample, m.view());
  }
  gzip.End();
  return true;
}

}  // namespace plimsoll::alloc
