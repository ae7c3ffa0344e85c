// How a type tells the collector where its pointers are: one line, at compile time.
//
//   struct Node {
//     int64_t key;
//     gc::Ptr<Node> left, right;
//     gc::vector<gc::Ptr<Node>> others;
//     GC_FIELDS(Node, left, right, others);     // what holds no pointer may be left out
//   };
//   struct Point { double x, y; GC_NOSCAN(Point); };          // no pointers at all
//   // A layout that varies:
//   struct Odd { ...; void gc_trace(gc::Visitor& v) const; GC_TRACED(Odd); };
//
// Fields:   numbers, enums, gc:: types, described types, and arrays, std::array and std::pair of
//           them. A raw pointer is refused: gc::Ptr<T> for what is collected, gc::Untraced<T*> for
//           what is not. So is anything else that is not described.
// Bases:    a derived type has a GC_FIELDS of its own, which names its bases' fields too.
// Misuse:   a field of an undescribed type, an undescribed type in gc::make, a derived type without
//           a line of its own: errors of the compiler. A gc:: field left out of the line: the end
//           of the process at its first construction, in builds without NDEBUG (probe.h); else
//           PLIMSOLL_DEBUG=verify=1 finds it.
#ifndef PLIMSOLL_RUNTIME_GC_DESCRIBE_H_
#define PLIMSOLL_RUNTIME_GC_DESCRIBE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include "plimsoll/alloc/collectable.h"

namespace plimsoll::gc {

template <typename T>
class Ptr;

class Visitor;

// A pointer that the collector does not follow, to what it does not own.
template <typename T>
struct Untraced {
  static_assert(std::is_pointer_v<T>);
  T value = nullptr;
  T operator->() const { return value; }
  operator T() const { return value; }
};

// Others' types without pointers may be declared so:
//   template <> inline constexpr bool plimsoll::gc::kNoscanType<absl::Duration> = true;
template <typename T>
inline constexpr bool kNoscanType =
    std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_empty_v<T>;
template <typename T>
inline constexpr bool kNoscanType<Untraced<T>> = true;
template <typename T>
inline constexpr bool kNoscanType<std::atomic<T>> = kNoscanType<T>;

namespace internal {

inline constexpr size_t kWord = sizeof(void*);

// Sets a bit for each word that may hold a pointer; and, where `counts` are asked for, one for each
// that means nothing when the pointer before it is null.
class MaskSink {
 public:
  constexpr explicit MaskSink(uint64_t* mask, uint64_t* counts = nullptr)
      : mask_(mask), counts_(counts) {}
  // A field of type F at `offset` from where the sink stands.
  template <typename F>
  constexpr void Field(size_t offset);
  constexpr void Word(size_t offset) { Set(mask_, offset); }
  // The length of what the pointer before it leads to.
  constexpr void Count(size_t offset) {
    if (counts_ != nullptr) Set(counts_, offset);
  }

 private:
  constexpr void Set(uint64_t* bits, size_t offset) const {
    const size_t word = (base_ + offset) / kWord;
    bits[word / 64] |= uint64_t{1} << (word % 64);
  }

  uint64_t* mask_;
  uint64_t* counts_;
  size_t base_ = 0;
};

// The door to what the macros put into a type, private or not.
struct Access {
  template <typename T>
  static constexpr bool kHasLine = requires { typename T::GcSelf; };
  // False where the line is a base's.
  template <typename T>
  static constexpr bool HasOwnLine() {
    if constexpr (kHasLine<T>) {
      return std::is_same_v<typename T::GcSelf, T>;
    } else {
      return false;
    }
  }
  template <typename T>
  static constexpr int KindOf() {
    return T::GcKind::value;
  }
  template <typename T>
  static constexpr void Describe(MaskSink& sink) {
    T::GcDescribe(sink);
  }
  // Whether the type says which of its words are lengths: `static constexpr void GcCounts(sink)`.
  template <typename T>
  static constexpr bool kHasCounts = requires(MaskSink& sink) { T::GcCounts(sink); };
  template <typename T>
  static constexpr void Counts(MaskSink& sink) {
    T::GcCounts(sink);
  }
  template <typename T>
  static void Trace(const T& object, Visitor& visitor) {
    object.gc_trace(visitor);
  }
};

enum : int { kFieldsLine, kNoscanLine, kTracedLine };

// What is known of a type. The general case is a described class.
template <typename T>
struct Description {
  static constexpr bool kOwnLine = Access::HasOwnLine<T>();
  static constexpr bool kBaseLine = Access::kHasLine<T> && !kOwnLine;
  static constexpr bool kKnown = kNoscanType<T> || kOwnLine;
  static constexpr bool kTraced = [] {
    if constexpr (kOwnLine && !kNoscanType<T>) {
      return Access::KindOf<T>() == kTracedLine;
    } else {
      return false;
    }
  }();
  static constexpr void Describe(MaskSink& sink) {
    if constexpr (kOwnLine && !kNoscanType<T>) {
      if constexpr (Access::KindOf<T>() == kFieldsLine) Access::Describe<T>(sink);
    }
  }
};

template <typename T>
struct Description<const T> : Description<T> {};

template <typename T>
struct Description<Ptr<T>> {
  static constexpr bool kKnown = true, kBaseLine = false, kTraced = false;
  static constexpr void Describe(MaskSink& sink) { sink.Word(0); }
};

template <typename T, size_t N>
struct Description<T[N]> {
  static constexpr bool kKnown = Description<T>::kKnown;
  static constexpr bool kBaseLine = Description<T>::kBaseLine;
  static constexpr bool kTraced = Description<T>::kTraced;
  static constexpr void Describe(MaskSink& sink) {
    for (size_t i = 0; i < N; ++i) sink.template Field<T>(i * sizeof(T));
  }
};

template <typename T, size_t N>
struct Description<std::array<T, N>> : Description<T[N]> {};

template <typename A, typename B>
struct Description<std::pair<A, B>> {
  static constexpr bool kKnown = Description<A>::kKnown && Description<B>::kKnown;
  static constexpr bool kBaseLine = Description<A>::kBaseLine || Description<B>::kBaseLine;
  static constexpr bool kTraced = Description<A>::kTraced || Description<B>::kTraced;
  static constexpr void Describe(MaskSink& sink) {
    sink.template Field<A>(0);
    constexpr size_t kAlign = alignof(B);
    sink.template Field<B>((sizeof(A) + kAlign - 1) / kAlign * kAlign);
  }
};

template <typename F>
constexpr void MaskSink::Field(size_t offset) {
  using D = Description<std::remove_cv_t<F>>;
  static_assert(!std::is_pointer_v<F> || std::is_function_v<std::remove_pointer_t<F>>,
                "a raw pointer in a collected type: gc::Ptr<T> for what is collected, "
                "gc::Untraced<T*> for what is not");
  if constexpr (!std::is_pointer_v<F>) {
    static_assert(!D::kBaseLine,
                  "the type of a field inherits its base's GC_FIELDS: give it a line of its own");
    static_assert(D::kKnown,
                  "the type of a field is not described: use gc:: types, or give it "
                  "GC_FIELDS, GC_NOSCAN or GC_TRACED");
    static_assert(!D::kTraced,
                  "a GC_TRACED type as a field: make the type around it GC_TRACED too");
    MaskSink at = *this;
    at.base_ = base_ + offset;
    D::Describe(at);
    if constexpr (Access::kHasCounts<std::remove_cv_t<F>>) {
      Access::Counts<std::remove_cv_t<F>>(at);
    }
  }
}

template <typename T>
inline constexpr size_t kWordsOf = (sizeof(T) + kWord - 1) / kWord;

template <typename T>
constexpr auto MakeMask() {
  std::array<uint64_t, (kWordsOf<T> + 63) / 64> mask{};
  MaskSink sink(mask.data());
  Description<T>::Describe(sink);
  return mask;
}
template <typename T>
inline constexpr auto kMask = MakeMask<T>();

// The words of a T that are lengths: see MaskSink::Count.
template <typename T>
constexpr auto MakeCounts() {
  std::array<uint64_t, (kWordsOf<T> + 63) / 64> mask{}, counts{};
  MaskSink sink(mask.data(), counts.data());
  sink.Field<T>(0);
  return counts;
}
template <typename T>
inline constexpr auto kCounts = MakeCounts<T>();

template <typename T>
constexpr bool HasPointers() {
  if constexpr (Description<T>::kTraced) return true;
  for (const uint64_t word : kMask<T>) {
    if (word != 0) return true;
  }
  return false;
}

// Calls the type's own gc_trace; defined in visitor.h.
template <typename T>
void TraceOne(const void* object, alloc::TraceSink& sink);

// The type's name as the compiler writes it, a constant.
template <typename T>
constexpr auto MakeTypeName() {
  constexpr std::string_view kText = __PRETTY_FUNCTION__;  // "… [with T = Node]", "… [T = Node]"
  constexpr size_t kBegin = kText.find("T = ") + 4;
  constexpr size_t kLength = kText.find_last_of(']') - kBegin;
  std::array<char, kLength + 1> name{};
  for (size_t i = 0; i < kLength; ++i) name[i] = kText[kBegin + i];
  return name;
}
template <typename T>
inline constexpr auto kTypeName = MakeTypeName<T>();

// The layout of objects that are one T, or an array of them.
template <typename T>
constexpr alloc::Layout MakeLayout() {
  static_assert(!std::is_pointer_v<T>,
                "collected raw pointers: use gc::Ptr<T>, or gc::Untraced<T*> for what is not "
                "collected");
  static_assert(
      !Description<T>::kBaseLine,
      "the type inherits its base's GC_FIELDS: give it a line of its own, which names the "
      "base's fields too");
  static_assert(Description<T>::kKnown,
                "the type has no pointer map: give it GC_FIELDS, GC_NOSCAN or GC_TRACED");
  static_assert(!Description<T>::kTraced || sizeof(T) % kWord == 0,
                "the size of a GC_TRACED type must be a multiple of a word");
  static_assert(!HasPointers<T>() || alignof(T) % kWord == 0,
                "a type with pointers must be aligned to a word");
  alloc::Layout layout;
  layout.name = kTypeName<T>.data();
  if constexpr (Description<T>::kTraced) {
    layout.kind = alloc::Layout::Kind::kTraced;
    layout.element_words = kWordsOf<T>;
    layout.trace = &TraceOne<T>;
  } else if constexpr (HasPointers<T>()) {
    layout.kind = alloc::Layout::Kind::kMask;
    layout.element_words = kWordsOf<T>;
    layout.mask = kMask<T>.data();
  } else {
    layout.kind = alloc::Layout::Kind::kNoscan;
  }
  return layout;
}

}  // namespace internal

// Whether gc::make<T> compiles, as far as the map goes.
template <typename T>
concept Described = internal::Description<T>::kKnown;

}  // namespace plimsoll::gc

#define PLIMSOLL_GC_LINE(Type, kind)              \
  friend struct ::plimsoll::gc::internal::Access; \
  using GcSelf [[maybe_unused]] = Type;           \
  using GcKind [[maybe_unused]] = std::integral_constant<int, ::plimsoll::gc::internal::kind>

// offsetof of a type that is not of standard layout: gcc and clang define it for all but members of
// virtual bases, and warn.
#define GC_FIELDS(Type, ...)                                                                 \
  PLIMSOLL_GC_LINE(Type, kFieldsLine);                                                       \
  _Pragma("GCC diagnostic push")                                                             \
      _Pragma("GCC diagnostic ignored \"-Winvalid-offsetof\"") static constexpr void         \
      GcDescribe(::plimsoll::gc::internal::MaskSink& gc_sink){__VA_OPT__(PLIMSOLL_GC_EXPAND( \
          PLIMSOLL_GC_EACH(Type, __VA_ARGS__)))} _Pragma("GCC diagnostic pop") static_assert(true)

// The type holds no pointer to anything collected.
#define GC_NOSCAN(Type) PLIMSOLL_GC_LINE(Type, kNoscanLine)

// The type has `void gc_trace(gc::Visitor&) const`.
#define GC_TRACED(Type) PLIMSOLL_GC_LINE(Type, kTracedLine)

// Up to 256 fields: each level rescans four times.
#define PLIMSOLL_GC_EXPAND(...) \
  PLIMSOLL_GC_E3(PLIMSOLL_GC_E3(PLIMSOLL_GC_E3(PLIMSOLL_GC_E3(__VA_ARGS__))))
#define PLIMSOLL_GC_E3(...) \
  PLIMSOLL_GC_E2(PLIMSOLL_GC_E2(PLIMSOLL_GC_E2(PLIMSOLL_GC_E2(__VA_ARGS__))))
#define PLIMSOLL_GC_E2(...) \
  PLIMSOLL_GC_E1(PLIMSOLL_GC_E1(PLIMSOLL_GC_E1(PLIMSOLL_GC_E1(__VA_ARGS__))))
#define PLIMSOLL_GC_E1(...) __VA_ARGS__
#define PLIMSOLL_GC_PAREN ()
#define PLIMSOLL_GC_EACH(Type, field, ...)                              \
  gc_sink.template Field<decltype(Type::field)>(offsetof(Type, field)); \
  __VA_OPT__(PLIMSOLL_GC_AGAIN PLIMSOLL_GC_PAREN(Type, __VA_ARGS__))
#define PLIMSOLL_GC_AGAIN() PLIMSOLL_GC_EACH

#endif  // PLIMSOLL_RUNTIME_GC_DESCRIBE_H_
