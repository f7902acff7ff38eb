# platter_layer(<name> [FOLDER <folder>] [EXCLUDE <file>...] [LAYERS <layer>...] [LIBRARIES <target>...])
#
# Makes the static library platter_<name> of all .cc files below FOLDER (default: the calling one).
# LAYERS are the layers below that it stands on; LIBRARIES are foreign ones, hidden from its users.
# A layer that has no .cc file yet is an interface library with the same dependencies.
function(platter_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "FOLDER" "EXCLUDE;LAYERS;LIBRARIES")
  set(folder ${CMAKE_CURRENT_SOURCE_DIR}/${arg_FOLDER})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cc)
  foreach(file IN LISTS arg_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "/${file}$")
  endforeach()

  set(target platter_${name})
  if(sources)
    add_library(${target} STATIC ${sources})
    target_link_libraries(${target} PRIVATE ${arg_LIBRARIES})
    set(scope PUBLIC)
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  # Includes are written from the project's root: #include "io/task.h".
  target_include_directories(${target} ${scope}
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/platter>)
  target_compile_features(${target} ${scope} cxx_std_23)
  list(TRANSFORM arg_LAYERS PREPEND platter_)
  target_link_libraries(${target} ${scope} ${arg_LAYERS})
endfunction()
