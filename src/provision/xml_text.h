// Text in XML.
#pragma once

#include <string>
#include <string_view>

namespace platter::provision {

/// True if XML 1.0 can hold it as it is: UTF-8, without control characters. (Tabs and newlines could be
/// held, and are changed in attributes by those who read them: false, too.)
bool fits_in_xml(std::string_view text) noexcept;

/// As the value of an attribute, or between elements. REQUIRES: fits_in_xml().
std::string xml_escaped(std::string_view text);

}  // namespace platter::provision
