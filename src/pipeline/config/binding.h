// What the table in fields.cc is written with: Key, Map and Maps make a Field whose set, get, enter
// and element functions come from member pointers; Key<&T::a, &A::b> is about target.a.b. Private
// to fields.cc.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <type_traits>

#include "pipeline/config/fields.h"

namespace sightline::config {

// For the bounds of durations.
inline constexpr double kSecondUs = 1e6;
inline constexpr double kDayUs = 24 * 3600e6;

template <typename M>
struct MemberOf;
template <typename Owner, typename Member>
struct MemberOf<Member Owner::*> {
  using OwnerType = Owner;
  using MemberType = Member;
};

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <typename T>
T FromValue(Value&& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return std::get<bool>(value);
  } else if constexpr (std::is_enum_v<T> || std::is_integral_v<T>) {
    return static_cast<T>(std::get<int64_t>(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(std::get<double>(value));
  } else {
    return std::get<T>(std::move(value));
  }
}

template <typename T>
Value ToValue(const T& value) {
  if constexpr (IsOptional<T>::value) {
    return value.has_value() ? ToValue(*value) : Value();
  } else if constexpr (std::is_same_v<T, bool>) {
    return value;
  } else if constexpr (std::is_enum_v<T> || std::is_integral_v<T>) {
    return static_cast<int64_t>(value);
  } else if constexpr (std::is_same_v<T, float>) {
    // The double that is written as the float is: 0.15f is 0.15, not 0.150000006.
    return std::strtod(fmt::format("{}", value).c_str(), nullptr);
  } else {
    return value;
  }
}

// First is a member of the section's struct; Rest, if any, are members of members.
template <auto First, auto... Rest>
struct Bind {
  using Owner = typename MemberOf<decltype(First)>::OwnerType;

  template <typename T>
  static auto& Reach(T& owner) {
    if constexpr (sizeof...(Rest) == 0) {
      return owner.*First;
    } else {
      return Bind<Rest...>::Reach(owner.*First);
    }
  }
  static auto& Of(void* target) { return Reach(*static_cast<Owner*>(target)); }
  static const auto& Of(const void* target) { return Reach(*static_cast<const Owner*>(target)); }

  static void Set(void* target, Value&& value) {
    auto& member = Of(target);
    using T = std::remove_reference_t<decltype(member)>;
    if constexpr (IsOptional<T>::value) {
      member = FromValue<typename T::value_type>(std::move(value));
    } else {
      member = FromValue<T>(std::move(value));
    }
  }
  static Value Get(const void* target) { return ToValue(Of(target)); }

  // Enums whose choices start at their second value: the first one means unset.
  static void SetFromSecond(void* target, Value&& value) {
    auto& member = Of(target);
    member = static_cast<std::remove_reference_t<decltype(member)>>(std::get<int64_t>(value) + 1);
  }
  static Value GetFromSecond(const void* target) {
    const int64_t index = std::get<int64_t>(Get(target));
    return index == 0 ? Value() : Value(index - 1);
  }

  static void* Enter(void* target) {
    auto& member = Of(target);
    if constexpr (IsOptional<std::remove_reference_t<decltype(member)>>::value) {
      return &member.emplace();
    } else {
      return &member;
    }
  }
  static const void* Inner(const void* target, size_t index) {
    const auto& member = Of(target);
    if (index > 0) return nullptr;
    if constexpr (IsOptional<std::remove_cvref_t<decltype(member)>>::value) {
      return member.has_value() ? &*member : nullptr;
    } else {
      return &member;
    }
  }

  static void* Append(void* target) { return &Of(target).emplace_back(); }
  static const void* Element(const void* target, size_t index) {
    const auto& list = Of(target);
    return index < list.size() ? &list[index] : nullptr;
  }

  static void Locate(void* target, ConfigLocation at) { Of(target) = at; }
};

// A section that is only a grouping in the file: its keys are members of the outer struct.
inline void* SameTarget(void* target) { return target; }
inline const void* SameTargetConst(const void* target, size_t index) {
  return index == 0 ? target : nullptr;
}

// A Field that is put together one property at a time. Each setter is written out, because Clang 14
// evaluates the table before it would instantiate a template that they share.
struct Row : Field {
  constexpr Row(std::string_view its_key, FieldType its_type) {
    key = its_key;
    type = its_type;
  }
  constexpr Row& Says(std::string_view text) {
    description = text;
    return *this;
  }
  constexpr Row& Required() {
    required = true;
    return *this;
  }
  constexpr Row& AffectsResults() {
    affects_results = true;
    return *this;
  }
  constexpr Row& Needs(std::string_view other) {
    needs = other;
    return *this;
  }
  constexpr Row& Unset(std::string_view means) {
    unset_means = means;
    return *this;
  }
  constexpr Row& Example(std::string_view text) {
    example = text;
    return *this;
  }
  constexpr Row& Range(double low, double high) {
    min = low;
    max = high;
    return *this;
  }
  constexpr Row& Above(double low, double high) {
    min_excluded = true;
    return Range(low, high);
  }
  constexpr Row& Items(size_t least, size_t most) {
    min_items = least;
    max_items = most;
    return *this;
  }
  constexpr Row& OneOf(std::span<const std::string_view> names) {
    choices = names;
    return *this;
  }
  constexpr Row& LocatedBy(decltype(locate) function) {
    locate = function;
    return *this;
  }
  constexpr Row& SetBy(decltype(set) function) {
    set = function;
    return *this;
  }
  constexpr Row& GetBy(decltype(get) function) {
    get = function;
    return *this;
  }
  constexpr Row& Of(const Section& its_section, decltype(enter) enter_function,
                    decltype(element) element_function) {
    section = &its_section;
    enter = enter_function;
    element = element_function;
    return *this;
  }
};

// A key whose value goes into the member at Path.
template <auto... Path>
constexpr Row Key(std::string_view key, FieldType type) {
  return Row(key, type).SetBy(&Bind<Path...>::Set).GetBy(&Bind<Path...>::Get);
}
// A map: of the member at Path, or, without one, of further members of the same struct.
template <auto... Path>
constexpr Row Map(std::string_view key, const Section& section) {
  if constexpr (sizeof...(Path) == 0) {
    return Row(key, FieldType::kSection).Of(section, &SameTarget, &SameTargetConst);
  } else {
    return Row(key, FieldType::kSection).Of(section, &Bind<Path...>::Enter, &Bind<Path...>::Inner);
  }
}
// A list of maps, each an element of the vector at Path.
template <auto... Path>
constexpr Row Maps(std::string_view key, const Section& section) {
  return Row(key, FieldType::kSectionList)
      .Of(section, &Bind<Path...>::Append, &Bind<Path...>::Element);
}

}  // namespace sightline::config
