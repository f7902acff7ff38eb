# cmake --install: the program, its manual pages and completion scripts, the static libraries with their headers, a CMake package
# (find_package(platter), target platter::platter) and platter.pc.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(_libraries platter_io platter_crypto platter_formats platter_ops platter_provision)
add_library(platter_library INTERFACE)
set_target_properties(platter_library PROPERTIES EXPORT_NAME platter)
target_link_libraries(platter_library INTERFACE platter_provision)

install(TARGETS platter_library ${_libraries} EXPORT platter-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(folder io crypto formats src/ops src/provision)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder}/
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/platter/${folder}
    FILES_MATCHING PATTERN "*.h")
endforeach()
if(TARGET platter)
  install(TARGETS platter RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  if(NOT CMAKE_CROSSCOMPILING)
    # Where each shell looks below any prefix. Debian's zsh looks in vendor-completions below /usr.
    set(PLATTER_ZSH_FOLDER ${CMAKE_INSTALL_DATADIR}/zsh/site-functions CACHE STRING "For zsh's _platter")
    set(_generated ${PROJECT_BINARY_DIR}/generated)
    install(DIRECTORY ${_generated}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})
    install(FILES ${_generated}/bash/platter
      DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES ${_generated}/zsh/_platter DESTINATION ${PLATTER_ZSH_FOLDER})
    install(FILES ${_generated}/fish/platter.fish
      DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
  endif()
endif()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(_package ${CMAKE_INSTALL_LIBDIR}/cmake/platter)
configure_package_config_file(${PROJECT_SOURCE_DIR}/scripts/cmake/platter-config.cmake.in
  ${PROJECT_BINARY_DIR}/platter-config.cmake INSTALL_DESTINATION ${_package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/platter-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/platter-config.cmake ${PROJECT_BINARY_DIR}/platter-config-version.cmake
  DESTINATION ${_package})
install(EXPORT platter-targets NAMESPACE platter:: DESTINATION ${_package})

# platter.pc finds its prefix from where it lies: the tree can be moved. Users before providers.
set(_pc ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH PLATTER_PC_PREFIX ${CMAKE_INSTALL_PREFIX}/${_pc} ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" PLATTER_PC_PREFIX "${PLATTER_PC_PREFIX}")
set(PLATTER_PC_LIBS "")
foreach(library IN LISTS _libraries)
  get_target_property(_type ${library} TYPE)
  if(_type STREQUAL "STATIC_LIBRARY")
    string(PREPEND PLATTER_PC_LIBS " -l${library}")
  endif()
endforeach()
configure_file(${PROJECT_SOURCE_DIR}/scripts/cmake/platter.pc.in
  ${PROJECT_BINARY_DIR}/platter.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/platter.pc DESTINATION ${_pc})
