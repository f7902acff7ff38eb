// What `dump` prints, for people or as JSON, written as it goes: tables may have millions of entries.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace platter::cli {

/// A number that people read in hexadecimal: offsets, raw entries. In JSON a number like others.
struct Hex {
  std::uint64_t value = 0;
};
struct Nothing {};  ///< in JSON null, for people "-"
using DumpValue =
    std::variant<Nothing, std::uint64_t, Hex, bool, std::string, std::vector<std::string>>;

struct DumpField {
  std::string_view name;
  DumpValue value;
};

/// One document: fields and rows, in sections. In JSON an object of objects and arrays, with one row a
/// line. Strings may be any bytes.
class DumpOutput {
 public:
  DumpOutput(bool json, std::function<void(std::string_view)> print)
      : json_(json), print_(std::move(print)) {}

  void begin();
  void end();
  void begin_section(std::string_view name);
  void end_section();
  void field(std::string_view name, const DumpValue& value);
  /// A list of rows, within a section or not.
  void begin_rows(std::string_view name);
  void row(std::initializer_list<DumpField> fields);
  void end_rows();
  /// Rows of all lists together.
  std::uint64_t rows() const noexcept { return rows_; }

 private:
  void open(std::string_view name, char bracket);
  void close(char bracket);
  std::string indent() const { return std::string(depth_ * 4, ' '); }

  bool json_;
  std::function<void(std::string_view)> print_;
  std::size_t depth_ = 0;
  bool first_ = true;  // of what is open
  std::uint64_t rows_ = 0;
};

}  // namespace platter::cli
