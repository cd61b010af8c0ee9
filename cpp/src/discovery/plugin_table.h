// A plug-in's table, checked: the same checks where it is tried and where it is used. Any thread may call; the table is
// the plug-in's and static.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <string>
#include <vector>

#include "servoir/backend.h"

namespace servoir {

// Tables of plug-ins built before these fields were added end here.
inline constexpr std::size_t kFirstTableBytes = offsetof(servoir_backend, open_model_in_memory);

inline bool opens_in_memory(const servoir_backend* table) {
  return table->struct_bytes >= kFirstTableBytes + sizeof(table->open_model_in_memory) &&
         table->open_model_in_memory != nullptr;
}

inline bool tells_devices(const servoir_backend* table) {
  return table->struct_bytes >= offsetof(servoir_backend, devices) + sizeof(table->devices) &&
         table->devices != nullptr;
}

inline std::vector<const char*> library_symbols(const servoir_backend* table) {
  std::vector<const char*> symbols;
  if (table->struct_bytes < offsetof(servoir_backend, library_symbols) + sizeof(table->library_symbols)) return symbols;
  for (const char* const* one = table->library_symbols; one != nullptr && *one != nullptr; ++one) {
    symbols.push_back(*one);
  }
  return symbols;
}

// The table of a plug-in that dlopen() gave; null, with the reason in *why (which continues "PATH …"), if it is none
// that this Servoir can use.
inline const servoir_backend* plugin_table(void* plugin, std::string* why) {
  const std::string ours = std::to_string(SERVOIR_BACKEND_INTERFACE);
  using Entry = const servoir_backend* (*)();
  const auto entry = reinterpret_cast<Entry>(::dlsym(plugin, SERVOIR_BACKEND_SYMBOL));
  if (entry == nullptr) {
    constexpr unsigned kLastThinkable = 99;
    for (unsigned version = 1; version <= kLastThinkable; ++version) {
      const std::string symbol = "servoir_backend_v" + std::to_string(version);
      if (::dlsym(plugin, symbol.c_str()) == nullptr) continue;
      *why = "was built for version " + std::to_string(version) +
             " of the plug-in interface, this Servoir has version " + ours + "; rebuild it";
      return nullptr;
    }
    *why = "is not a plug-in of this Servoir: it has no function " SERVOIR_BACKEND_SYMBOL;
    return nullptr;
  }
  const servoir_backend* table = entry();
  if (table == nullptr) {
    *why = "is not a plug-in of this Servoir: " SERVOIR_BACKEND_SYMBOL "() gives no table";
    return nullptr;
  }
  if (table->interface_version != SERVOIR_BACKEND_INTERFACE) {
    *why = "was built for version " + std::to_string(table->interface_version) +
           " of the plug-in interface, this Servoir has version " + ours + "; rebuild it";
    return nullptr;
  }
  if (table->struct_bytes < kFirstTableBytes) {
    *why = "was built for version " + ours + " of the plug-in interface with a table of " +
           std::to_string(table->struct_bytes) + " bytes, this Servoir needs " + std::to_string(kFirstTableBytes) +
           " of them; rebuild it";
    return nullptr;
  }
  return table;
}

}  // namespace servoir
