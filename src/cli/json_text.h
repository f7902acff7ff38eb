// JSON as qemu-img prints it.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace platter::cli {

/// The same text, byte for byte: ASCII alone, four spaces, a newline at the end. Strings may be any
/// bytes.
std::string json_text(const nlohmann::ordered_json& document);

}  // namespace platter::cli
