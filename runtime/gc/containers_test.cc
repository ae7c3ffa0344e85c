#include <map>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/hash_map.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/optional.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/slice.h"
#include "plimsoll/runtime/gc/string.h"
#include "plimsoll/runtime/gc/testing/fake_world.h"
#include "plimsoll/runtime/gc/variant.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::gc {
namespace {

struct Item {
  int64_t number = 0;
  string name;
  vector<Ptr<Item>> others;
  GC_FIELDS(Item, name, others);
};

class ContainersTest : public testing::Test {
 protected:
  ContainersTest() { FakeWorld::Get().scan_stack = false; }
  ~ContainersTest() override {
    Collect();
    EXPECT_EQ(GetStats().live_objects, 0u) << "left by the test";
  }
  FakeWorld& world_ = FakeWorld::Get();
};

template <typename F>
std::string PanicOf(F f) {
  try {
    f();
  } catch (const Panic& panic) {
    return panic.what();
  }
  return "no panic";
}

TEST_F(ContainersTest, AVectorKeepsWhatItHoldsAndNoMore) {
  Root<Item> root = make<Item>();
  for (int i = 0; i < 100; ++i) {
    root->others.push_back(make<Item>());
    root->others.back()->number = i;
    Collect();
  }
  EXPECT_EQ(GetStats().live_objects, 102u);  // the storage is one
  root->others.pop_back();
  root->others.erase(root->others.begin() + 10, root->others.begin() + 20);
  Collect();
  EXPECT_EQ(GetStats().live_objects, 91u);
  EXPECT_EQ(root->others[10]->number, 20);
  EXPECT_EQ(root->others.back()->number, 98);
  root->others.resize(5);
  Collect();
  EXPECT_EQ(GetStats().live_objects, 7u);
  root->others.clear();
  Collect();
  EXPECT_EQ(GetStats().live_objects, 2u);
  root->others = {};
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1u);
}

TEST_F(ContainersTest, VectorsOfVectorsAndOfStrings) {
  struct Table {
    vector<vector<string>> rows;
    GC_FIELDS(Table, rows);
  };
  Root<Table> table = make<Table>();
  for (int r = 0; r < 20; ++r) {
    vector<string>& row = table->rows.emplace_back();
    for (int c = 0; c < 10; ++c) {
      row.push_back(string(std::to_string(r)) + "/" + std::to_string(c));
      if (c % 4 == 0) Collect();
    }
  }
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1u + 1 + 20 + 200);
  EXPECT_EQ(table->rows[19][9], "19/9");
}

TEST_F(ContainersTest, AVectorAgreesWithTheStandardOne) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  struct Holder {
    vector<int64_t> v;
    GC_FIELDS(Holder, v);
  };
  Root<Holder> holder = make<Holder>();
  std::vector<int64_t> model;
  for (int i = 0; i < 5000; ++i) {
    const auto value = static_cast<int64_t>(random());
    const size_t at = model.empty() ? 0 : random() % model.size();
    switch (random() % 8) {
      case 0:
        if (!model.empty()) {
          holder->v.erase(holder->v.begin() + at);
          model.erase(model.begin() + static_cast<ptrdiff_t>(at));
        }
        break;
      case 1:
        holder->v.insert(holder->v.begin() + at, value);
        model.insert(model.begin() + static_cast<ptrdiff_t>(at), value);
        break;
      case 2:
        if (random() % 30 == 0) {
          const size_t n = random() % 100;
          holder->v.resize(n);
          model.resize(n);
        }
        break;
      case 3: {
        vector<int64_t> copy = holder->v;
        holder->v = std::move(copy);
        break;
      }
      case 4:
        if (random() % 50 == 0) Collect();
        break;
      default:
        holder->v.push_back(value);
        model.push_back(value);
    }
    ASSERT_EQ(holder->v.size(), model.size());
    ASSERT_TRUE(std::equal(model.begin(), model.end(), holder->v.begin()));
  }
}

TEST_F(ContainersTest, AnElementMayBePushedToItsOwnVector) {
  vector<string> v;
  v.push_back("a");
  for (int i = 0; i < 50; ++i) v.push_back(v[0]);
  for (const string& s : v) EXPECT_EQ(s, "a");
}

TEST_F(ContainersTest, IndexesBeyondTheEndPanicWithGosText) {
  vector<int> v{1, 2, 3};
  EXPECT_EQ(PanicOf([&] { (void)v.at(5); }), "runtime error: index out of range [5] with length 3");
  vector<int> none;
  EXPECT_EQ(PanicOf([&] { (void)none.front(); }),
            "runtime error: index out of range [0] with length 0");
  EXPECT_EQ(PanicOf([&] { none.pop_back(); }),
            "runtime error: index out of range [-1] with length 0");
  string s = "abc";
  EXPECT_EQ(PanicOf([&] { (void)s.substr(5); }),
            "runtime error: slice bounds out of range [:5] with length 3");
}

TEST_F(ContainersTest, AnIndexOutOfRangeTellsTheCallersLine) {
  slice<int> s = {1, 2, 3};
  vector<int> v = {1, 2, 3};
  const vector<int>& constant = v;
  const auto where_of = [](auto f) {
    try {
      f();
    } catch (const Panic& panic) {
      return panic.where();
    }
    return std::source_location();
  };
  const unsigned line = __LINE__ + 1;
  std::vector<std::source_location> wheres = {where_of([&] { (void)s[3]; }),
                                              where_of([&] { (void)s.at(3); })};
  EXPECT_EQ(wheres[0].line(), line);
  EXPECT_EQ(wheres[1].line(), line + 1);
  if (internal::kProbe) {
    wheres.push_back(where_of([&] { (void)v[3]; }));
    wheres.push_back(where_of([&] { (void)constant[-1]; }));
    EXPECT_EQ(wheres[2].line(), line + 5);
    EXPECT_EQ(wheres[3].line(), line + 6);
  }
  for (const std::source_location& where : wheres) {
    EXPECT_NE(std::string_view(where.file_name()).find("containers_test"), std::string_view::npos);
  }
}

TEST_F(ContainersTest, StringsShareTheirBytes) {
  struct Holder {
    string s;
    GC_FIELDS(Holder, s);
  };
  Root<Holder> a = make<Holder>();
  Root<Holder> b = make<Holder>();
  a->s = string("a long enough text");
  b->s = a->s.substr(7, 6);
  EXPECT_EQ(b->s, "enough");
  EXPECT_EQ(b->s.data(), a->s.data() + 7);
  a->s = string();
  Collect();
  EXPECT_EQ(GetStats().live_objects, 3u) << "a piece keeps the whole";
  EXPECT_EQ(b->s, "enough");
  EXPECT_EQ(string("x") + "", "x");
  EXPECT_LT(string("a"), string("b"));
  EXPECT_EQ(std::hash<string>()(string("abc")), std::hash<std::string_view>()("abc"));
  EXPECT_TRUE(string("").empty());
  EXPECT_EQ(string("abc").substr(3), "");
}

TEST_F(ContainersTest, AnOptionalKeepsItsValueUntilItIsReset) {
  struct Holder {
    optional<string> name;
    optional<Ptr<Item>> item;
    GC_FIELDS(Holder, name, item);
  };
  Root<Holder> h = make<Holder>();
  EXPECT_FALSE(h->name.has_value());
  EXPECT_EQ(PanicOf([&] { (void)h->name.value(); }), "gc::optional has no value");
  h->name = string("a name");
  h->item = Ptr<Item>(make<Item>());
  Collect();
  EXPECT_EQ(GetStats().live_objects, 3u);
  EXPECT_EQ(*h->name, "a name");
  EXPECT_EQ(h->name.value_or("other"), "a name");
  h->name.reset();
  h->item = std::nullopt;
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1u);
  EXPECT_EQ(h->name, optional<string>());
}

TEST_F(ContainersTest, AVariantKeepsWhatItHoldsAndNoMore) {
  struct Holder {
    variant<int64_t, string, Ptr<Item>> is;
    GC_FIELDS(Holder, is);
  };
  Root<Holder> h = make<Holder>();
  EXPECT_TRUE(h->is.holds<int64_t>());
  EXPECT_EQ(h->is.get<int64_t>(), 0);
  h->is = string("a text");
  Collect();
  EXPECT_EQ(GetStats().live_objects, 2u);
  EXPECT_EQ(h->is.get<string>(), "a text");
  EXPECT_EQ(h->is.index(), 1u);
  EXPECT_EQ(h->is.get_if<int64_t>(), nullptr);
  EXPECT_EQ(PanicOf([&] { (void)h->is.get<Ptr<Item>>(); }), "gc::variant holds another type");
  const variant<int64_t, string, Ptr<Item>> same = h->is;
  EXPECT_TRUE(same == h->is);
  h->is = Ptr<Item>(make<Item>());
  EXPECT_FALSE(same == h->is);
  h->is.get<Ptr<Item>>()->name = string("an item's");
  Collect();
  EXPECT_EQ(GetStats().live_objects, 3u) << "the text is gone, the item and its name are there";
  EXPECT_EQ(h->is.visit([]<typename T>(const T&) { return sizeof(T); }), sizeof(Ptr<Item>));
  h->is = h->is.get<Ptr<Item>>()->name;  // out of what goes with it
  Collect();
  EXPECT_EQ(GetStats().live_objects, 2u);
  EXPECT_EQ(h->is.get<string>(), "an item's");
  h->is = int64_t{5};
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1u);
}

TEST_F(ContainersTest, AMapAgreesWithTheStandardOne) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  struct Holder {
    hash_map<int64_t, string> map;
    GC_FIELDS(Holder, map);
  };
  Root<Holder> holder = make<Holder>();
  std::unordered_map<int64_t, std::string> model;
  for (int i = 0; i < 20'000; ++i) {
    const auto key = static_cast<int64_t>(random() % 300);
    switch (random() % 4) {
      case 0:
        ASSERT_EQ(holder->map.erase(key), model.erase(key) == 1);
        break;
      case 1: {
        const auto found = model.find(key);
        const string* value = holder->map.find(key);
        ASSERT_EQ(value != nullptr, found != model.end());
        if (value != nullptr) {
          ASSERT_EQ(*value, std::string_view(found->second));
        }
        break;
      }
      case 2:
        if (random() % 200 == 0) Collect();
        if (random() % 2000 == 0) {
          holder->map.clear();
          model.clear();
        }
        break;
      default: {
        const std::string value = std::to_string(random());
        holder->map[key] = string(value);
        model[key] = value;
      }
    }
    ASSERT_EQ(holder->map.size(), model.size());
  }
  size_t seen = 0;
  for (const auto& e : holder->map) {
    ++seen;
    ASSERT_EQ(e.value, std::string_view(model.at(e.key)));
  }
  EXPECT_EQ(seen, model.size());
}

TEST_F(ContainersTest, AMapKeepsItsKeysAndValuesAndNoMore) {
  struct Holder {
    hash_map<string, Ptr<Item>> map;
    GC_FIELDS(Holder, map);
  };
  Root<Holder> holder = make<Holder>();
  for (int i = 0; i < 100; ++i) holder->map[string(std::to_string(i))] = make<Item>();
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1u + 2 + 200);
  for (int i = 0; i < 90; ++i) EXPECT_TRUE(holder->map.erase(string(std::to_string(i))));
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1u + 2 + 20);
  EXPECT_TRUE(holder->map.contains("95"));
  EXPECT_FALSE(holder->map.contains("5"));
  // Erased entries do not fill it up.
  for (int i = 0; i < 10'000; ++i) {
    holder->map["again"] = make<Item>();
    EXPECT_TRUE(holder->map.erase("again"));
  }
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1u + 2 + 20);
  EXPECT_LE(GetStats().live_bytes, 16u << 10);
}

TEST_F(ContainersTest, AppendSharesWhereThereIsRoomAsGosDoes) {
  slice<int> s = {1, 2, 3};
  EXPECT_EQ(s.cap(), 3u);
  slice<int> t = append(s, 4);  // a new array
  t[0] = 9;
  EXPECT_EQ(s[0], 1);
  slice<int> a = append(t, 5);  // room behind t: the same one
  slice<int> b = append(t, 6);
  EXPECT_EQ(a[4], 6) << "both wrote behind t";
  EXPECT_EQ(b[4], 6);
  slice<int> middle = b.sub(1, 3);
  middle[0] = 7;
  EXPECT_EQ(b[1], 7);
  EXPECT_EQ(middle.len(), 2u);
  EXPECT_EQ(middle.cap(), b.cap() - 1);
  EXPECT_TRUE(slice<int>().is_nil());
  EXPECT_FALSE((slice<int>::make(0, 4).is_nil()));
  EXPECT_EQ(PanicOf([&] { (void)s.sub(0, 5); }),
            "runtime error: slice bounds out of range [:5] with capacity 3");
  EXPECT_EQ(PanicOf([&] { (void)s.sub(3, 2); }), "runtime error: slice bounds out of range [3:2]");
  EXPECT_EQ(PanicOf([&] { (void)s[3]; }), "runtime error: index out of range [3] with length 3");
}

TEST_F(ContainersTest, ASliceKeepsItsWholeArray) {
  struct Holder {
    slice<Ptr<Item>> items;
    GC_FIELDS(Holder, items);
  };
  Root<Holder> holder = make<Holder>();
  for (int i = 0; i < 1000; ++i) holder->items = append(holder->items, Ptr<Item>(make<Item>()));
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1002u);
  holder->items = holder->items.sub(500, 501);
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1002u) << "an address within keeps all of it";
  holder->items = {};
}

}  // namespace
}  // namespace plimsoll::gc
