// Makes the set, get, enter and element functions of a Field from member pointers: Bind<&T::a,
// &A::b> stands for target.a.b. Private to fields.cc.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <type_traits>

#include "pipeline/config/fields.h"

namespace sightline::config {

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
    Set(target, std::get<int64_t>(value) + 1);
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

}  // namespace sightline::config
