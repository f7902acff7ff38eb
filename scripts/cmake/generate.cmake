# cmake -DPLATTER=<program> -DFOLDER=<folder> -P generate.cmake: manual pages and shell completion, in the folders
# below FOLDER that they are installed from.
function(generate file)
  execute_process(COMMAND ${PLATTER} --generate ${ARGN} OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  file(WRITE ${FOLDER}/${file} "${text}")
endfunction()

file(REMOVE_RECURSE ${FOLDER})
generate(man1/platter.1 man)
execute_process(COMMAND ${PLATTER} --generate verbs OUTPUT_VARIABLE verbs COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" verbs "${verbs}")
foreach(verb IN LISTS verbs)
  generate(man1/platter-${verb}.1 man ${verb})
endforeach()
generate(bash/platter bash)
generate(zsh/_platter zsh)
generate(fish/platter.fish fish)
