"""Where platter means to differ from qemu-img, with the reason; docs/compatibility.md tells users.

Pattern of case names -> (what may differ, why). What: "stdout", "stderr", "code", "files".
A case that is listed and does not differ fails, so that the list stays true.
"""

_ABSENT = "a target that could not be made is not left behind"
_TEXT = "the message says more, or says what was wrong"
_NO_TABLE = "no L2 table is made where there is nothing to cut off"
_OBJECTS = "no --object and --image-opts yet: with the formats that need them"

DIFFERENCES = {
    "usage/help": ({"stdout", "stderr", "code"}, "platter's own help, also for `resize --help`"),
    "usage/help_with_operands": ({"stdout"}, "platter's own help"),
    "usage/abbreviated_help": ({"stdout"}, "platter's own help"),
    "usage/version": ({"stdout"}, "platter's own version"),
    "usage/object": ({"code", "stdout", "stderr"}, _OBJECTS),
    "usage/image_opts": ({"code", "stdout", "stderr"}, _OBJECTS),
    "info/abbreviated": ({"code", "stdout", "stderr"}, _OBJECTS + ", so --o means --output alone"),
    "convert/ambiguous": ({"stderr"}, _OBJECTS + ", so --target means --target-is-zero alone"),
    "bench/*_0x1k": ({"code", "stdout", "stderr"}, "hexadecimal numbers take no suffix; qemu-img warns"),
    "bench/over_the_end*": ({"stderr"}, _TEXT),
    "bench/begins_*": ({"stderr"}, _TEXT),
    "bench/offset_3G": ({"stderr"}, _TEXT),
    "bench/offset_2147483648": ({"stderr"}, _TEXT),
    "create_qcow2/metadata_513": ({"blocks"}, "the hole of the last cluster stays one"),
    "create_qcow2/over_5": ({"stderr"}, "the message ends its line"),
    "create_qcow2/over_6": ({"stderr"}, "the message ends its line"),
    "create_qcow2/over_19": ({"stderr"}, "the message ends its line"),
    "create_qcow2/over_41": ({"stderr"}, "names with a protocol are refused"),
    "create_qcow2/existing_9": ({"stderr"}, _TEXT),
    "create_qcow2/existing_26": ({"stderr"}, "names with a protocol are refused"),
    "create_qcow2/existing_28": ({"stderr"}, "encrypted images can't be made yet"),
    "create_qcow2/existing_29": ({"stderr"}, "encrypted images can't be made yet"),
    "create_qcow2/existing_30": ({"stderr"}, "encrypted images can't be made yet"),
    "resize/qcow2_2": ({"files"}, "a file ends with a whole cluster"),
    "resize/qcow2_8": ({"files"}, _NO_TABLE),
    "resize/qcow2_9": ({"files"}, _NO_TABLE),
    "resize/qcow2_12": ({"blocks"}, "the hole of the last cluster stays one"),
    "resize/qcow2_13": ({"files"}, "places in another order"),
    "resize/qcow2_14": ({"files"}, "places in another order"),
    "resize/qcow2_21": ({"files"}, "a file ends with a whole cluster"),
    "resize/qcow2_22": ({"files"}, _NO_TABLE),
    "create/size_7E": ({"files"}, _ABSENT),
    "create/o_size_is_7E": ({"files"}, _ABSENT),
    "create/*size_*9223372036854775296": ({"files"}, _ABSENT),
    "create/*size_*9223372036854774784": ({"files"}, _ABSENT),
    "create/size_9223372036854775807": ({"files", "stderr"}, _ABSENT + "; " + _TEXT),
    "create/o_size_is_18446744073709551615": ({"stdout", "stderr"}, "a size is not taken for 'no size'"),
    "create/o_size_is_15E": ({"files", "stdout", "stderr"}, "a size is never shown as negative; " + _ABSENT),
    "create/size_0x10k": ({"code", "files", "stdout", "stderr"}, "hexadecimal numbers take no suffix; qemu-img warns"),
    "create/preallocation_metadata": ({"files"}, _ABSENT),
    "create/nocow_flag": ({"code", "files", "stdout", "stderr"}, "a name alone means on; qemu-img reads no + cow"),
    "create/o_negated": ({"code", "files", "stdout", "stderr"}, "qemu-img's deprecated no + NAME is not taken"),
    "info/format_empty": ({"code", "stdout", "stderr"}, "an empty format name is none: decided by content"),
    "info/one_dash_long": ({"stderr"}, "the message holds the word that was wrong"),
    "resize/to_7E": ({"stderr"}, _TEXT),
    "resize/to_9223372036854775296": ({"stderr"}, _TEXT),
    "resize/to_9223372036854774784": ({"stderr"}, _TEXT),
    "resize/huge_then_back": ({"stderr"}, _TEXT),
    "resize/folder": ({"stderr"}, _TEXT),
    "convert/n_folder": ({"stderr"}, _TEXT),
    "convert/target_cache_bogus": ({"files"}, _ABSENT),
    "convert/target_cache_''": ({"files"}, _ABSENT),
    "convert/preallocation_metadata": ({"files"}, _ABSENT),
    "convert/n_odd_hole_target": ({"files"}, "zeroes make the file as long as its image, as data do"),
    # -s: the place where allocation differs, not where a run begins that ends elsewhere.
    "compare/hole_or_zero_strict*": ({"stdout"}, "-s names the place that differs"),
    "compare/pair_4": ({"stdout"}, "-s names the place that differs"),
    "compare/pair_9": ({"stdout"}, "-s names the place that differs"),
    "compare/pair_13": ({"stdout"}, "-s names the place that differs"),
    "compare/pair_14": ({"stdout"}, "-s names the place that differs"),
    "compare/pair_5": ({"stdout"}, "differences are told by 512-byte sectors, also at the end of an odd file"),
}
