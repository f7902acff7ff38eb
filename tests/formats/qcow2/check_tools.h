// What the tests of check share: one check of one file, and what it said.
#pragma once

#include <string>
#include <vector>

#include "formats/qcow2/check.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2::test {

struct Checked {
  CheckReport report;
  std::vector<std::string> messages;

  bool clean() const {
    return report.check_errors == 0 && report.corruptions == 0 && report.leaks == 0;
  }
  bool said(const std::string& text) const {
    for (const std::string& message : messages) {
      if (message.find(text) != std::string::npos) return true;
    }
    return false;
  }
};

inline Task<Checked> check_file(File& file, Repair repair = Repair::none) {
  Checked checked;
  Header header = co_await read_header_for_check(file);
  CheckOptions options{.repair = repair};
  options.on_message = [&](std::string_view line) { checked.messages.emplace_back(line); };
  checked.report = co_await check_refcounts(header, file, std::move(options));
  co_return checked;
}

}  // namespace platter::qcow2::test
