#include "plimsoll/alloc/heap_picture.h"

#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/alloc/size_class.h"

namespace plimsoll::alloc {
namespace {

constexpr size_t kColumns = 256;
constexpr size_t kRows = kRegionPages / kColumns;
constexpr int kCellWidth = 4;
constexpr int kCellHeight = 4;
constexpr int kLeft = 16;
constexpr int kLegendTop = 60;
constexpr int kLegendStep = 82;
constexpr int kLegendLine = 18;
constexpr int kBand = static_cast<int>(kRows) * kCellHeight;
constexpr int kGap = 26;

struct Rgb {
  int r, g, b;
};

// Eight hues that differ in brightness too; a class keeps its own for ever.
constexpr Rgb kHues[] = {{0x1f, 0x4e, 0x9e}, {0xb8, 0x3b, 0x1d}, {0x2a, 0x7a, 0x3b},
                         {0x7a, 0x2f, 0x8f}, {0x0f, 0x7d, 0x86}, {0xa0, 0x6a, 0x00},
                         {0xa8, 0x2a, 0x5e}, {0x4d, 0x55, 0x0f}};
constexpr Rgb kLarge = {0x55, 0x5b, 0x66};
constexpr Rgb kIdle = {0xf1, 0xe2, 0xb0};
constexpr Rgb kReleased = {0xff, 0xff, 0xff};
constexpr Rgb kOther = {0x20, 0x20, 0x20};

// A quarter full is three quarters of the way to white.
Rgb Pale(Rgb c, int level) {
  const auto mix = [level](int v) { return 255 - (255 - v) * level / 4; };
  return {mix(c.r), mix(c.g), mix(c.b)};
}

int LevelOf(PageCell cell) { return 1 + cell.fill / 64; }

Rgb ColourOf(PageCell cell) {
  switch (cell.kind) {
    case PageCell::kReleased:
      return kReleased;
    case PageCell::kIdle:
      return kIdle;
    case PageCell::kLarge:
      return kLarge;
    case PageCell::kOther:
      return kOther;
    default:
      return Pale(kHues[(cell.kind - PageCell::kFirstClass) % std::size(kHues)], LevelOf(cell));
  }
}

bool Alike(PageCell a, PageCell b) {
  return a.kind == b.kind && (a.kind < PageCell::kFirstClass || LevelOf(a) == LevelOf(b));
}

struct Svg {
  void (*write)(std::string_view piece, void* to);
  void* to;

  template <typename... Parts>
  void Add(const Parts&... parts) {
    base::RawText text;
    (text.Add(parts), ...);
    write(text.view(), to);
  }
  void Colour(Rgb c) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    Add("#", kDigits[c.r >> 4], kDigits[c.r & 15], kDigits[c.g >> 4], kDigits[c.g & 15],
        kDigits[c.b >> 4], kDigits[c.b & 15]);
  }
  void Rect(int x, int y, int width, int height, Rgb c, bool edge = false) {
    Add("<rect x=\"", x, "\" y=\"", y, "\" width=\"", width, "\" height=\"", height, "\" fill=\"");
    Colour(c);
    Add(edge ? "\" stroke=\"#999\"/>\n" : "\"/>\n");
  }
  template <typename... Parts>
  void Text(int x, int y, const Parts&... parts) {
    Add("<text x=\"", x, "\" y=\"", y, "\">");
    Add(parts...);
    Add("</text>\n");
  }
};

}  // namespace

void WriteHeapPicture(const HeapStats& stats, const uintptr_t* bases, size_t regions,
                      const PageCell* cells, void (*write)(std::string_view piece, void* to),
                      void* to) {
  Svg svg{write, to};
  int bands = 0;
  for (size_t r = 0; r < regions; ++r) bands += bases[r] != 0;
  const int width = kLeft * 2 + static_cast<int>(kColumns) * kCellWidth;
  int entries = 4;
  for (size_t c = 1; c < kClassCount; ++c) entries += stats.classes[c].spans != 0;
  const int columns = (width - 2 * kLeft) / kLegendStep;
  const int first_band = kLegendTop + (entries + columns - 1) / columns * kLegendLine;
  const int height = first_band + bands * (kBand + kGap) + 8;
  svg.Add("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", width, "\" height=\"", height,
          "\" font-family=\"sans-serif\" font-size=\"13\">\n");
  svg.Rect(0, 0, width, height, {0xfa, 0xfa, 0xfa});
  svg.Add("<g fill=\"#222\">\n");
  svg.Text(kLeft, 20, "live ", stats.live.value() >> 10, " KiB in spans of ",
           stats.in_spans.value() >> 10, " KiB (", stats.FragmentationPermille() / 10, ".",
           stats.FragmentationPermille() % 10, " % fragmentation), idle ", stats.idle.value() >> 10,
           " KiB, released ", stats.released.value() >> 10, " KiB, mapped ",
           stats.mapped.value() >> 20, " MiB");
  svg.Text(kLeft, 38,
           "one cell: a page of 8 KiB; one band: a region of 64 MiB, from left to right, "
           "then down; paler: less of the span is in use");
  // The legend: what is not of a class, then each class that has spans.
  int place = 0;
  const auto entry = [&](Rgb colour, auto... text) {
    const int x = kLeft + place % columns * kLegendStep;
    const int y = kLegendTop + place / columns * kLegendLine;
    ++place;
    svg.Rect(x, y - 10, 12, 12, colour, true);
    svg.Text(x + 16, y, text...);
  };
  entry(kLarge, "large");
  entry(kIdle, "idle");
  entry(kReleased, "released");
  entry(kOther, "guarded");
  for (size_t c = 1; c < kClassCount; ++c) {
    if (stats.classes[c].spans == 0) continue;
    entry(kHues[c % std::size(kHues)], kSizeClasses[c].size, " B");
  }
  svg.Add("</g>\n<g shape-rendering=\"crispEdges\">\n");

  int band = 0;
  for (size_t r = 0; r < regions; ++r) {
    if (bases[r] == 0) continue;
    const int top = first_band + band++ * (kBand + kGap);
    svg.Add("<g fill=\"#222\">");
    svg.Text(kLeft, top + 12, base::Hex(bases[r]));
    svg.Add("</g>\n");
    const PageCell* region = cells + r * kRegionPages;
    for (size_t row = 0; row < kRows; ++row) {
      for (size_t column = 0; column < kColumns;) {
        const PageCell cell = region[row * kColumns + column];
        size_t end = column + 1;
        while (end < kColumns && Alike(cell, region[row * kColumns + end])) ++end;
        if (cell.kind != PageCell::kAbsent) {
          svg.Rect(kLeft + static_cast<int>(column) * kCellWidth,
                   top + 17 + static_cast<int>(row) * kCellHeight,
                   static_cast<int>(end - column) * kCellWidth, kCellHeight, ColourOf(cell));
        }
        column = end;
      }
    }
    svg.Add("<rect x=\"", kLeft, "\" y=\"", top + 17, "\" width=\"", kColumns * kCellWidth,
            "\" height=\"", kBand, "\" fill=\"none\" stroke=\"#999\"/>\n");
  }
  svg.Add("</g>\n</svg>\n");
}

}  // namespace plimsoll::alloc
