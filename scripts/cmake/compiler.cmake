# The compilers that are accepted, and the options that every target of the project gets.

set(_clang_19 "Use clang 19 or newer: cmake --preset release, or -DCMAKE_CXX_COMPILER=clang++-19.")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
    message(FATAL_ERROR
      "GCC ${CMAKE_CXX_COMPILER_VERSION} silently miscompiles coroutines: an aggregate or a lambda "
      "that is built in the same expression as a co_await is copied bitwise and destroyed twice. "
      "${_clang_19} (GCC 14 and newer are accepted too.)")
  endif()
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 19)
    message(FATAL_ERROR
      "clang ${CMAKE_CXX_COMPILER_VERSION} has no std::expected with libstdc++. ${_clang_19}")
  endif()
else()
  message(FATAL_ERROR
    "platter is not tested with the compiler ${CMAKE_CXX_COMPILER_ID}. ${_clang_19}")
endif()

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# Line tables suffice for stack traces and keep objects small. No LTO: the tool waits for disks, not
# for calls across files, and the installed archives stay readable for any linker.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG -gline-tables-only")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -gline-tables-only")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  string(REPLACE "-gline-tables-only" "-g1" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")
  string(REPLACE "-gline-tables-only" "-g1"
    CMAKE_CXX_FLAGS_RELWITHDEBINFO "${CMAKE_CXX_FLAGS_RELWITHDEBINFO}")
endif()

# Warnings. -Wconversion without its sign part: offsets come signed from the kernel everywhere.
add_compile_options(
  -Wall -Wextra -Wpedantic
  -Wcast-align -Wcast-qual -Wconversion -Wno-sign-conversion -Wdouble-promotion -Wextra-semi
  -Wformat=2 -Wimplicit-fallthrough -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
  -Wshadow -Wsuggest-override -Wundef -Wunused)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_compile_options(-Wunreachable-code -Wrange-loop-analysis)
  # {.name = value} leaves the other fields at their defaults on purpose.
  add_compile_options(-Wno-missing-designated-field-initializers)
  # An error that is dropped is a bug, not a warning.
  add_compile_options(-Werror=unused-result)
endif()
if(PLATTER_WERROR)
  add_compile_options(-Werror)
endif()

# Images are hostile input: bounds checks of the standard library in every build, and what the
# compiler and the linker offer against what slips through.
add_compile_definitions(_GLIBCXX_ASSERTIONS)
add_compile_options(-fstack-protector-strong)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT PLATTER_SANITIZE)
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
add_link_options(-Wl,--as-needed -Wl,-z,relro)

if(PLATTER_SANITIZE)
  set(_sanitize -fsanitize=${PLATTER_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_compile_options(${_sanitize})
  add_link_options(${_sanitize})
endif()
if(PLATTER_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "PLATTER_FUZZ needs clang: libFuzzer is a part of it.")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)  # the layers report their coverage to the fuzzer
endif()

# lld links several times faster; clang 19 finds the lld of its own version.
include(CheckLinkerFlag)
check_linker_flag(CXX -fuse-ld=lld PLATTER_HAVE_LLD)
if(PLATTER_HAVE_LLD)
  add_link_options(-fuse-ld=lld)
endif()
