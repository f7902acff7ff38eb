SPARSE = "256K 0+4K 16K+12K 64K+4K=0 100K+20K 252K+4K"
S = {"s": SPARSE}
# Zeroes of many sizes among data.
ZEROES = {"s": "256K 0+8K 8K+512=0 8704+3584 16K+4K=0 20K+4K 24K+8K=0 32K+4K 36K+64K=0 100K+100K"}
LAYOUTS = {
    "empty": "0", "one_byte": "1 0+1", "size_511": "511 0+511", "size_512": "512 0+512", "size_1000": "1000 0+1000",
    "size_4097": "4097 0+4097", "size_4097_hole": "4097", "hole": "1M", "data": "1M 0+1M", "zero_data": "1M 0+1M=0",
    "sparse": SPARSE, "odd_end": "1049000 0+4K 1048576+424", "unaligned_extents": "256K 5000+100 70000+5000",
    "tail_data": "3M 3145000+728", "big_hole": "2T 0+4K 1T+4K",
}
CACHES = ("none", "off", "writeback", "writethrough", "directsync", "unsafe", "bogus", "''")

CASES = (
    [(f"convert/{name}", {"s": layout}, ["convert s t"]) for name, layout in LAYOUTS.items()]
    + [(f"convert/{name}_raw", {"s": layout}, ["convert -f raw -O raw s t"]) for name, layout in LAYOUTS.items()]
    + [
        (f"convert/{name}_existing", {"s": layout, "t": "2M 0+2M=9"}, ["convert -n s t"])
        for name, layout in LAYOUTS.items() if name != "big_hole" and "3M" not in layout
    ]
    + [
        (f"convert/{name}_over", {"s": layout, "t": "2M 0+2M=9"}, ["convert s t"])
        for name, layout in LAYOUTS.items() if name != "big_hole"
    ]
    + [
        (f"convert/S_{size}", ZEROES, [f"convert -S {size} s t"])
        for size in ("0", "512", "1k", "4k", "8k", "64k", "1M", "16M", "17M", "100", "513", "4097", "x", "-1", "1.5k", "''")
    ]
    + [(f"convert/S_{size}_existing", ZEROES | {"t": "256K 0+256K=9"}, [f"convert -n -S {size} s t"]) for size in ("0", "512", "4k", "64k")]
    + [(f"convert/target_cache_{mode}", S, [f"convert -t {mode} s t"]) for mode in CACHES]
    + [(f"convert/source_cache_{mode}", S, [f"convert -T {mode} s t"]) for mode in CACHES]
    + [
        (f"convert/preallocation_{mode}", S, [f"convert -o preallocation={mode} s t"])
        for mode in ("off", "falloc", "full", "metadata", "bogus")
    ]
    + [
        (f"convert/preallocation_{mode}_odd", {"s": "4097 0+4097"}, [f"convert -o preallocation={mode} s t"])
        for mode in ("falloc", "full")
    ]
    + [
        (f"convert/m_{count}", S, [f"convert -m {count} s t"])
        for count in ("1", "8", "16", "17", "0", "-1", "x", "''", "2x", "' 3'", "+4", "0x4", "1.5")
    ]
    + [
        (f"convert/r_{rate}", S, [f"convert -r {rate} s t"]) for rate in ("1G", "100M", "x", "-1", "0", "1E")
    ]
    + [
        ("convert/W", S, ["convert -W s t", "convert -W -m 4 s t", "convert -W -m 4 -n s t"]),
        ("convert/C", S, ["convert -C s t", "convert -C -n s t"]),
        ("convert/C_S", S, ["convert -C -S 4k s t"]),
        ("convert/C_c", S, ["convert -C -c s t"]),
        ("convert/C_salvage", S, ["convert -C --salvage s t"]),
        ("convert/salvage", S, ["convert --salvage s t"]),
        ("convert/compress", S, ["convert -c s t"]),
        ("convert/compress_raw", S, ["convert -c -O raw s t"]),
        ("convert/progress", S, ["convert -p s t"]),
        ("convert/progress_wrong", S, ["convert -p -c s t", "convert -p -F raw s t", "convert -p -B s s t", "convert -p -O nosuch s t",
                                       "convert -p -o x=1 s t", "convert -p -n -o size=1 s t", "convert -p nope t", "convert -q -p -c s t",
                                       "convert -p -O qcow2 -B s s t"]),
        ("convert/progress_empty", {"s": "0"}, ["convert -p s t"]),
        ("convert/progress_hole", {"s": "1M"}, ["convert -p s t"]),
        ("convert/progress_existing", S | {"t": "256K"}, ["convert -p -n s t"]),
        ("convert/quiet", S, ["convert -q s t", "convert -qp s t"]),
        ("convert/progress_error", {}, ["convert -p s t"]),
        ("convert/force_share", S, ["convert -U s t", "convert --force-share s u"]),
        ("convert/backing", S, ["convert -B s s t"]),
        ("convert/backing_format", S, ["convert -B s -F raw s t"]),
        ("convert/backing_format_only", S, ["convert -F raw s t"]),
        ("convert/backing_two_sources", S, ["convert -B s s s t"]),
        ("convert/snapshot", S, ["convert -l snap s t"]),
        ("convert/snapshot_id", S, ["convert -l snapshot.id=1 s t"]),
        ("convert/bitmaps", S, ["convert --bitmaps s t"]),
        ("convert/target_is_zero", S | {"t": "256K"}, ["convert -n --target-is-zero s t"]),
        ("convert/target_is_zero_alone", S, ["convert --target-is-zero s t"]),
        ("convert/target_is_zero_lie", S | {"t": "256K 0+256K=9"}, ["convert -n --target-is-zero s t"]),
        ("convert/n_missing", S, ["convert -n s t"]),
        ("convert/n_smaller", S | {"t": "128K"}, ["convert -n s t"]),
        ("convert/n_smaller_by_a_sector", S | {"t": "261632"}, ["convert -n s t"]),
        ("convert/n_equal", S | {"t": "256K 0+256K=9"}, ["convert -n s t"]),
        ("convert/n_larger", S | {"t": "512K 0+512K=9"}, ["convert -n s t"]),
        ("convert/n_odd_source", {"s": "1000 0+1000", "t": "4K 0+4K=9"}, ["convert -n s t"]),
        ("convert/n_odd_target", {"s": "1000 0+1000", "t": "1000 0+1000=9"}, ["convert -n s t"]),
        ("convert/n_odd_target_4097", {"s": "4097 0+4097", "t": "4097 0+4097=9"}, ["convert -n s t"]),
        ("convert/n_odd_hole_target", {"s": "4097", "t": "4097 0+4097=9"}, ["convert -n s t"]),
        ("convert/n_empty_target", S | {"t": "0"}, ["convert -n s t"]),
        ("convert/n_empty_both", {"s": "0", "t": "0"}, ["convert -n s t"]),
        ("convert/n_o", S | {"t": "256K"}, ["convert -n -o preallocation=off s t"]),
        ("convert/n_format", S | {"t": "256K"}, ["convert -n -f raw -O raw s t", "convert -n -O nosuch s t"]),
        ("convert/n_guessed_qcow2", {"s": "qcow2 1M", "t": "2M"}, ["convert -n -f raw -O raw s t"]),
        ("convert/n_folder", S | {"t": "dir"}, ["convert -n s t"]),
        ("convert/two_sources", {"a": "64K 0+4K", "b": "64K 32K+4K"}, ["convert a b t"]),
        ("convert/three_sources", {"a": "64K 0+4K", "b": "0", "c": "64K 0+64K"}, ["convert a b c t"]),
        ("convert/two_odd_sources", {"a": "1000 0+1000", "b": "4097 0+4097"}, ["convert a b t"]),
        ("convert/two_unaligned_sources", {"a": "512 0+512", "b": "1536 0+1536", "c": "3M 0+3M"}, ["convert a b c t"]),
        ("convert/same_source_twice", S, ["convert s s t"]),
        ("convert/two_sources_existing", {"a": "64K 0+4K", "b": "64K", "t": "128K 0+128K=9"}, ["convert -n a b t"]),
        ("convert/two_sources_small_existing", {"a": "64K", "b": "64K", "t": "127K"}, ["convert -n a b t"]),
        ("convert/second_source_missing", {"a": "64K"}, ["convert a b t"]),
        ("convert/two_sources_offload", {"a": "64K 0+4K", "b": "64K 32K+4K"}, ["convert -C a b t"]),
        ("convert/two_sources_progress", {"a": "64K 0+4K", "b": "64K 32K+4K"}, ["convert -p a b t"]),
        ("convert/nothing", {}, ["convert"]),
        ("convert/one_operand", S, ["convert s"]),
        ("convert/source_missing", {}, ["convert s t"]),
        ("convert/source_missing_target_there", {"t": "64K 0+64K"}, ["convert s t"]),
        ("convert/source_folder", {"s": "dir"}, ["convert s t"]),
        ("convert/target_folder", S | {"t": "dir"}, ["convert s t"]),
        ("convert/target_missing_folder", S, ["convert s no/t"]),
        ("convert/target_in_file", S | {"f": "1K"}, ["convert s f/t"]),
        ("convert/target_empty_name", S, ["convert s ''"]),
        ("convert/target_is_source", S, ["convert s s"]),
        ("convert/target_is_source_existing", S, ["convert -n s s"]),
        ("convert/target_is_source_by_link", S | {"t": "-> s"}, ["convert s t"]),
        ("convert/target_is_second_source", {"a": "64K", "b": "64K 0+64K"}, ["convert a b b"]),
        ("convert/target_link", S | {"r": "64K 0+64K", "t": "-> r"}, ["convert s t"]),
        ("convert/target_dangling_link", S | {"t": "-> r"}, ["convert s t"]),
        ("convert/target_link_to_nowhere", S | {"t": "-> no/r"}, ["convert s t"]),
        ("convert/source_link", {"r": SPARSE, "s": "-> r"}, ["convert s t"]),
        ("convert/format_unknown", S, ["convert -f nosuch s t"]),
        ("convert/format_missing", S, ["convert s t -f"]),
        ("convert/output_format_unknown", S, ["convert -O nosuch s t"]),
        ("convert/output_format_empty", S, ["convert -O '' s t"]),
        ("convert/formats_joined", S, ["convert -fraw -Oraw s t"]),
        ("convert/o_size", S, ["convert -o size=1M s t"]),
        ("convert/o_size_smaller", S, ["convert -o size=64K s t"]),
        ("convert/o_nocow", S, ["convert -o nocow=on s t", "convert -o nocow=maybe s u"]),
        ("convert/o_extent_size_hint", S, ["convert -o extent_size_hint=64K s t"]),
        ("convert/o_unknown", S, ["convert -o foo=bar s t"]),
        ("convert/o_empty", S, ["convert -o '' s t"]),
        ("convert/o_twice", S, ["convert -o preallocation=full -o nocow=off s t"]),
        ("convert/o_help", {}, ["convert -o help"]),
        ("convert/o_help_files", S, ["convert -o help s t", "convert -O raw -o help s t", "convert -o '?' s t"]),
        ("convert/qcow2_as_raw", {"s": "qcow2 1M"}, ["convert -f raw s t"]),
        ("convert/unknown_letter", S, ["convert -Z s t"]),
        ("convert/unknown_long", S, ["convert --nosuch s t"]),
        ("convert/old_s", S, ["convert -s snap s t"]),
        ("convert/old_6", S, ["convert -6 s t"]),
        ("convert/old_e", S, ["convert -e s t"]),
        ("convert/abbreviated", S | {"t": "256K"}, ["convert --salv s u", "convert -n --target-is s t", "convert --force s v", "convert --bit s w"]),
        ("convert/ambiguous", S, ["convert --target s t"]),
        ("convert/options_last", S, ["convert s t -O raw -f raw"]),
        ("convert/letters_cluster", S, ["convert -Wqm4 s t"]),
        ("convert/dashes", {"-s": SPARSE}, ["convert -- -s -t", "convert ./-s t"]),
        ("convert/file_prefix", S, ["convert file:s file:t"]),
        ("convert/protocol_source", {}, ["convert nosuch:s t"]),
        ("convert/protocol_target", S, ["convert s nosuch:t"]),
        ("convert/protocol_existing_target", S, ["convert -n s nosuch:t"]),
        ("convert/names", {"a b\nc": SPARSE, "x,y": "64K 0+4K", "ü": "4K"},
         [["convert", "a b\nc", "d\ne"], ["convert", "x,y", "ü", "z,,:"], ["convert", "x,y", "./z:"], ["convert", "no\nne", "t"]]),
        ("convert/conflict_order", {}, ["convert -C -S 0 -c nosuch", "convert -S x -m 17 a b", "convert -m 17 -t bogus a b", "convert -t bogus -T bogus a b"]),
        ("convert/data_larger", {"s": "20M 0+5M 7M+3M 12000000+500 15M+5M"}, ["convert s t", "convert -W s u", "convert -S 0 s v"]),
        ("convert/larger_progress", {"s": "20M 0+20M"}, ["convert -p s t"]),
    ]
)
