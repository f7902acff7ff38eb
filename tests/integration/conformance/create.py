SIZES = (
    "0 1 511 512 513 1000 4097 1k 1b 1m 1.5k 1.5G 0.5k 1.0000001M 1T 7E 8E 1e3 0x100000 0x10k 0x 0xg "
    "01000 9223372036854775807 9223372036854775296 9223372036854774784 9223372036854775808 "
    "18446744073709551615 18446744073709551616 1000000000000000000000 15E 16E "
    "abc 1X 1MM 1KiB 1. 1.k .5G 1,5 +1G 1G+ 1.5 1.0 0.0000001k nan inf 1..5k 1.5.5k 12345678901.5k"
).split()

CASES = (
    [(f"create/size_{size}", {}, [f"create a {size}"]) for size in SIZES]
    + [(f"create/o_size_is_{size}", {}, [f"create -o size={size} a"]) for size in SIZES[::3]]
    + [
        ("create/size_empty", {}, ["create a ''"]),
        ("create/size_blank", {}, ["create a ' '"]),
        ("create/size_blank_before", {}, ["create a ' 1M'"]),
        ("create/size_blank_after", {}, ["create a '1M '"]),
        ("create/size_negative", {}, ["create a -1"]),
        ("create/size_negative_after_dashes", {}, ["create -- a -1"]),
        ("create/size_negative_big", {}, ["create -- a -1G"]),
        ("create/no_operands", {}, ["create"]),
        ("create/only_options", {}, ["create -f raw -q"]),
        ("create/no_size", {}, ["create a"]),
        ("create/extra_operand", {}, ["create a 1M b"]),
        ("create/extra_operands", {}, ["create a 1M b c"]),
        ("create/bad_size_and_extra", {}, ["create a x b"]),
        ("create/format_raw", {}, ["create -f raw a 1M"]),
        ("create/format_joined", {}, ["create -fraw a 1M"]),
        ("create/format_last_wins", {}, ["create -f nosuch -f raw a 1M"]),
        ("create/format_unknown", {}, ["create -f nosuch a 1M"]),
        ("create/format_empty", {}, ["create -f '' a 1M"]),
        ("create/format_case", {}, ["create -f RAW a 1M"]),
        ("create/format_missing", {}, ["create a 1M -f"]),
        ("create/quiet", {}, ["create -q a 1M"]),
        ("create/cluster_of_letters", {}, ["create -qf raw a 1M"]),
        ("create/options_after_operands", {}, ["create a 1M -q -f raw"]),
        ("create/unknown_letter", {}, ["create -Z a 1M"]),
        ("create/unknown_letter_in_cluster", {}, ["create -qZ a 1M"]),
        ("create/unknown_long", {}, ["create --nosuch a 1M"]),
        ("create/unknown_long_with_value", {}, ["create --nosuch=1 a 1M"]),
        ("create/long_with_unwanted_value", {}, ["create --help=1 a 1M"]),
        ("create/output_is_not_for_create", {}, ["create --output=json a 1M"]),
        ("create/o_twice", {}, ["create -o size=1M -o preallocation=off a"]),
        ("create/o_missing", {}, ["create a 1M -o"]),
        ("create/o_empty", {}, ["create -o '' a 1M"]),
        ("create/o_comma", {}, ["create -o , a 1M"]),
        ("create/o_trailing_comma", {}, ["create -o preallocation=off, a 1M"]),
        ("create/o_leading_comma", {}, ["create -o ,preallocation=off a 1M"]),
        ("create/o_double_comma", {}, ["create -o preallocation=off,,nocow=on a 1M"]),
        ("create/o_unknown", {}, ["create -o foo=bar a 1M"]),
        ("create/o_unknown_flag", {}, ["create -o foo a 1M"]),
        ("create/o_negated", {}, ["create -o nonocow a 1M"]),
        ("create/o_size_flag", {}, ["create -o size a"]),
        ("create/o_size_negative", {}, ["create -o size=-1 a"]),
        ("create/o_size_out_of_range", {}, ["create -o size=16E a", "create -o extent_size_hint=99E a 1M"]),
        ("create/o_size_twice", {}, ["create -o size=1M,size=2M a"]),
        ("create/o_size_and_operand", {}, ["create -o size=1M a 2M"]),
        ("create/o_help", {}, ["create -o help"]),
        ("create/o_help_file", {}, ["create -o help a"]),
        ("create/o_help_file_size", {}, ["create -o help a 1M"]),
        ("create/o_help_format", {}, ["create -f raw -o help a"]),
        ("create/o_question", {}, ["create -o '?' a"]),
        ("create/o_help_in_list", {}, ["create -o size=1M,help a"]),
        ("create/o_help_bad_format", {}, ["create -f nosuch -o help a"]),
    ]
    + [
        (f"create/preallocation_{mode}", {}, [f"create -o preallocation={mode} a 1M"])
        for mode in ("off", "falloc", "full", "metadata", "bogus", "FULL", "")
    ]
    + [
        (f"create/preallocation_{mode}_{size}", {}, [f"create -o preallocation={mode} a {size}"])
        for mode, size in (("off", 1), ("falloc", 1000), ("full", 4097), ("full", 0), ("falloc", 0))
    ]
    + [
        (f"create/nocow_{value}", {}, [f"create -o nocow={value} a 1M"])
        for value in ("on", "off", "yes", "no", "true", "false", "y", "n", "1", "ON", "")
    ]
    + [
        ("create/nocow_flag", {}, ["create -o nocow a 1M"]),
        ("create/extent_size_hint", {}, ["create -o extent_size_hint=1M a 1M"]),
        ("create/extent_size_hint_zero", {}, ["create -o extent_size_hint=0 a 1M"]),
        ("create/extent_size_hint_odd", {}, ["create -o extent_size_hint=1000 a 1M"]),
        ("create/extent_size_hint_bad", {}, ["create -o extent_size_hint=x a 1M"]),
        ("create/all_options", {}, ["create -o size=1M,preallocation=full,nocow=off,extent_size_hint=64k a"]),
        ("create/backing", {"b": "1M"}, ["create -b b a 1M"]),
        ("create/backing_and_format", {"b": "1M"}, ["create -b b -F raw a 1M"]),
        ("create/backing_format_only", {}, ["create -F raw a 1M"]),
        ("create/backing_unsafe", {}, ["create -u -b b -F raw a 1M"]),
        ("create/unsafe_alone", {}, ["create -u a 1M"]),
        ("create/existing_smaller", {"a": "64K 0+64K"}, ["create a 16K"]),
        ("create/existing_larger", {"a": "16K 0+16K"}, ["create a 64K"]),
        ("create/existing_full", {"a": "16K 0+16K"}, ["create -o preallocation=full a 64K"]),
        ("create/existing_link", {"t": "16K 0+16K", "a": "-> t"}, ["create a 64K"]),
        ("create/dangling_link", {"a": "-> t"}, ["create a 64K"]),
        ("create/dangling_link_to_nowhere", {"a": "-> no/t"}, ["create a 64K"]),
        ("create/link_loop", {"a": "-> b", "b": "-> a"}, ["create a 64K"]),
        ("create/folder", {"a": "dir"}, ["create a 64K"]),
        ("create/missing_folder", {}, ["create no/a 64K"]),
        ("create/file_as_folder", {"f": "1K"}, ["create f/a 64K"]),
        ("create/trailing_slash", {}, ["create a/ 64K"]),
        ("create/name_empty", {}, ["create '' 64K"]),
        ("create/name_long", {}, ["create " + "n" * 255 + " 64K", "create " + "n" * 256 + " 64K"]),
        ("create/name_file_prefix", {}, ["create file:a 64K"]),
        ("create/name_file_prefix_twice", {}, ["create file:file:a 64K"]),
        ("create/name_file_prefix_alone", {}, ["create file: 64K"]),
        ("create/name_protocol", {}, ["create nosuch:a 64K"]),
        ("create/name_colon_after_slash", {}, ["create ./x:a 64K"]),
        ("create/name_digit_protocol", {}, ["create 1:a 64K"]),
        ("create/name_space_before_colon", {}, ["create 'x y:a' 64K"]),
        ("create/name_colon_first", {}, ["create :a 64K"]),
        ("create/name_space", {}, ["create 'a b' 64K"]),
        ("create/name_newline", {}, ["create 'a\nb' 64K"]),
        ("create/name_utf8", {}, ["create 'ä✓' 64K"]),
        ("create/name_comma", {}, ["create a,b,,c 64K"]),
        ("create/name_equals", {}, ["create a=b 64K"]),
        ("create/name_dash", {}, ["create -- -a 64K"]),
        ("create/name_two_dashes", {}, ["create -- --help 64K"]),
        ("create/o_name_with_commas", {}, ["create -o a,,b=c a 1M", "create -f qcow2 -o a,,b=c a 1M", "create -f qcow2 -o size,,=1M a",
                                           "create -f qcow2 -o backing_file,,x=1 a 1M", "create -o size=1M,,x a"]),
        ("create/dashes_alone", {}, ["create --"]),
        ("create/size_negative_word", {}, ["create a -64k", "create -f qcow2 a -64k"]),
        ("create/size_negative_operand", {}, ["create a -- -64k", "create -- a -1"]),
    ]
)
