// Not compiled by itself: refused_test.sh compiles it once for each case, and each must fail with
// the text in its comment. CASE 0 must compile.
#include <string>
#include <vector>

#include "plimsoll/runtime/gc/cleanup.h"
#include "plimsoll/runtime/gc/finalized.h"
#include "plimsoll/runtime/gc/function.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/string.h"
#include "plimsoll/runtime/gc/vector.h"

using namespace plimsoll;

struct Good {
  int64_t key;
  gc::Ptr<Good> next;
  gc::vector<gc::Ptr<Good>> others;
  gc::string name;
  gc::Untraced<const char*> literal;
  void (*function)();
  GC_FIELDS(Good, key, next, others, name, literal, function);
};
struct Undescribed {
  gc::Ptr<Good> good;
};
struct Traced {
  gc::Ptr<Good> good;
  void gc_trace(gc::Visitor& v) const { v.visit(good); }
  GC_TRACED(Traced);
};
struct Destroyed {
  ~Destroyed() { ++count; }
  static inline int count;
  GC_NOSCAN(Destroyed);
};
struct Inherits : Good {
  gc::Ptr<Good> more;
};

#if CASE == 1  // a raw pointer in a collected type
struct Bad {
  Good* good;
  GC_FIELDS(Bad, good);
};
void Use() { (void)gc::make<Bad>(); }
#elif CASE == 2   // the type of a field is not described
struct Bad {
  std::vector<int> v;
  GC_FIELDS(Bad, v);
};
void Use() { (void)gc::internal::kMask<Bad>; }
#elif CASE == 3   // the type of a field is not described
struct Bad {
  Undescribed u;
  GC_FIELDS(Bad, u);
};
void Use() { (void)gc::make<Bad>(); }
#elif CASE == 4   // the type inherits its base's GC_FIELDS
void Use() { (void)gc::make<Inherits>(); }
#elif CASE == 5   // the type has no pointer map
void Use() { (void)gc::make<Undescribed>(); }
#elif CASE == 6   // collected types are never destroyed
void Use() { (void)gc::make<Destroyed>(); }
#elif CASE == 7   // a GC_TRACED type as a field
struct Bad {
  Traced t;
  GC_FIELDS(Bad, t);
};
void Use() { (void)gc::make<Bad>(); }
#elif CASE == 8   // the type holds pointers: use make_array
void Use() { (void)gc::make_noscan<Good>(3); }
#elif CASE == 9   // collected raw pointers: use gc::Ptr
void Use() { (void)gc::make_array<Good*>(3); }
#elif CASE == 10  // the type has no pointer map
void Use() { (void)gc::make<std::string>("x"); }
#elif CASE == 11  // the type of a field inherits its base's GC_FIELDS
struct Bad {
  Inherits i;
  GC_FIELDS(Bad, i);
};
void Use() { (void)gc::make<Bad>(); }
#elif CASE == 12  // collected objects are aligned to 16 bytes
struct alignas(64) Bad {
  int x;
  GC_NOSCAN(Bad);
};
void Use() { (void)gc::make<Bad>(); }
#elif CASE == 13  // a GC_TRACED type cannot be finalized
struct Bad {
  gc::Ptr<Good> good;
  ~Bad() {}
  void gc_trace(gc::Visitor& v) const { v.visit(good); }
  GC_TRACED(Bad);
};
void Use() { (void)gc::finalized<Bad>(); }
#elif CASE == 14  // the type has no destructor: use gc::make
void Use() { (void)gc::finalized<Good>(); }
#elif CASE == 15  // the function of a cleanup is called with its arguments
void Use() {
  gc::cleanup(gc::make<Good>(), [](int) {}, "text");
}
#elif CASE == 16  // the type has no pointer map
void Use() { (void)gc::finalized<std::string>("x"); }
#elif CASE == 17  // the target of a gc::function is called as const
void Use() {
  gc::function<int()> f = [n = 0]() mutable { return ++n; };
}
#elif CASE == 18  // the target of a gc::function is never destroyed
void Use() {
  gc::function<void()> f = [s = std::string()] {};
}
#elif CASE == 19  // the target of a gc::function is never destroyed
void Use() {
  gc::function<void()> f = [root = gc::Root<Good>()] {};
}
#elif CASE == 20  // the target of a gc::function is aligned to 16 bytes at most
struct alignas(64) Wide {
  int x;
};
void Use() {
  gc::function<void()> f = [wide = Wide()] {};
}
#else
void Use() {
  gc::function<int(int)> f = [good = gc::Ptr<Good>(), raw = gc::make<Good>()](int x) { return x; };
  (void)f(1);
  (void)gc::finalized<Destroyed>();
  gc::cleanup(gc::make<Good>(), [](int) {}, 1);
  (void)gc::make<Good>();
  (void)gc::make<Traced>();
  (void)gc::make_array<gc::Ptr<Good>>(3);
}
#endif
