"""Cases for conformance_test.py, a table for each verb.

A case is (name, files, commands). `files` maps names to what is made before: a layout (see
support.write_layout), "dir", "fifo", "-> target", or "qcow2 SIZE", or "qcow2 SIZE | write ..." with commands of qemu-io. A command is a line for the
shell's splitting, without the program's name, or a list of words; or a pair of that and a text for
standard input.
"""
