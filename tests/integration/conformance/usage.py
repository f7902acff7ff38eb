CASES = [
    ("usage/nothing", {}, [""]),
    ("usage/unknown_verb", {}, ["frobnicate", "frobnicate a b", "''"]),
    ("usage/unknown_option", {}, ["--nosuch", "-Z", "-Z info"]),
    ("usage/mistyped", {"a": "1K"}, ["convrt a b", "info --outptu=json a", "--verison", "create -f qcow2 -o clustersize=64k b 1M"]),
    ("usage/verb_case", {}, ["INFO a"]),
    ("usage/dashes_first", {"a": "1K"}, ["-- info a"]),
    ("usage/help", {}, ["--help", "-h", "info --help", "info -h", "create -h", "map -h", "convert -h", "resize -h", "compare -h", "resize --help"]),
    ("usage/version", {}, ["--version", "-V"]),
    ("usage/help_with_operands", {}, ["info --help a b", "create a --help"]),
    ("usage/abbreviated_help", {}, ["info --he", "resize --he"]),
    ("usage/object", {"a": "1K"}, ["info --object secret,id=s,data=x a"]),
    ("usage/image_opts", {"a": "1K"}, ["info --image-opts driver=raw,file.filename=a"]),
]
